"""Header and volume of an image file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lib.data.findings import Finding


@dataclass(frozen=True, eq=False)
class Header:
    """Facts about an image that are known before its voxels are loaded.

    Args:
        path: The file, or the folder of a DICOM series.
        kind: Format: ``nifti``, ``itk`` or ``dicom``.
        shape: Shape of the file, spatial axes first, ``(X, Y, ...)``.
        components: Number of values per voxel, such as 3 for RGB.
        bytes_per_voxel: Size of a stored voxel with all components, in bytes.
        affine: Affine ``(4, 4)`` from voxel index to RAS+ mm.
        modality: DICOM modality; None for other formats.
        findings: Faults that the reader of the format found.
        details: Data that the reader of the format needs to load the voxels.
        metadata: Texts of the header by their keys, such as the names of the segments in a NRRD file.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    components: int
    bytes_per_voxel: int
    affine: NDArray[Any]
    modality: str | None = None
    findings: tuple[Finding, ...] = ()
    details: Any = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without trailing axes of size 1 after the third axis."""
        shape = self.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        return shape

    @property
    def size_bytes(self) -> int:
        """Size of the stored voxels in bytes."""
        return prod(self.shape) * self.bytes_per_voxel

    @property
    def size_gib(self) -> float:
        """Size of the stored voxels in GiB."""
        return self.size_bytes / 2**30


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels ``(X, Y)`` or ``(X, Y, Z)`` in the order of the file, and their affine ``(4, 4)`` to RAS+ mm."""

    voxels: NDArray[Any]
    affine: NDArray[Any]
    header: Header | None = None
