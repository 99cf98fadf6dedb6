"""What a file holds: its header, and its voxels with their affine."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lib.data.findings import Finding


@dataclass(frozen=True, eq=False)
class Header:
    """What is known of an image before its voxels are loaded.

    Args:
        path: The file, or the folder of a DICOM series.
        kind: ``nifti``, ``itk`` or ``dicom``.
        shape: Axes of the file, spatial first, ``(X, Y, ...)``.
        components: Values per voxel (3 for RGB).
        bytes_per_voxel: Of the stored type, all components.
        affine: ``(4, 4)``, voxel index to RAS+ mm.
        modality: DICOM modality, where the format has one.
        findings: Faults that the format's own reader saw.
        details: Whatever that reader needs again to load the voxels.
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

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """The shape without singleton axes after the third."""
        shape = self.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        return shape

    @property
    def size_bytes(self) -> int:
        """What the stored voxels take in memory."""
        return prod(self.shape) * self.bytes_per_voxel

    @property
    def size_gib(self) -> float:
        """The same, in GiB."""
        return self.size_bytes / 2**30


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels ``(X, Y)`` or ``(X, Y, Z)`` in the file's order, and their affine to RAS+ mm."""

    voxels: NDArray[Any]
    affine: NDArray[Any]
    header: Header | None = None
