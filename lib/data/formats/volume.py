"""Header and volume of an image file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

SLICE_ORIGINS = "TopoLabel_slice_origins_ras_mm"
"""Key in an NRRD file: x, y and z of the first voxel of each slice, if the slices are not on a regular grid."""
NOTES = "TopoLabel_notes"
"""Key in an NRRD file: the notes of the image."""


@dataclass(frozen=True, eq=False)
class Header:
    """Facts about an image that are known before its voxels are loaded.

    Args:
        path: The file, or the folder of a DICOM series.
        kind: Format: ``nifti``, ``itk`` or ``dicom``.
        shape: Shape of the file, spatial axes first, ``(X, Y, ...)``.
        components: Number of values per voxel, such as 3 for RGB.
        bytes_per_voxel: Size of a stored voxel with all components, in bytes; that of the index for a palette.
        affine: Affine ``(4, 4)`` from voxel index to RAS+ mm.
        modality: DICOM modality; None for other formats.
        details: Data that the reader of the format needs to load the voxels.
        origins: Position of the first voxel of each slice, ``(Z, 3)`` in RAS+ mm, if slices are shifted sideways or
            unevenly spaced; `affine` then places the first and the last slice exactly. None for a regular grid.
        notes: Facts about the image that its users should know, such as a tilted gantry.
        metadata: Texts of the header by their keys, such as the names of the segments in a NRRD file.
        has_loose_frames: Whether the third axis counts frames without positions, such as those of an ultrasound loop.
        in_pixels: Whether the file is a picture (PNG, JPEG, TIFF), which has no geometry: its affine counts pixels.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    components: int
    bytes_per_voxel: int
    affine: NDArray[Any]
    modality: str | None = None
    details: Any = None
    origins: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    in_pixels: bool = False
    has_loose_frames: bool = False

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
    """Voxels of an image in the order of the file.

    Args:
        voxels: The first channel, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: Affine ``(4, 4)`` from voxel index to RAS+ mm.
        header: The header of the file; None for an image that was made in memory.
        others: The further channels of an image with several, such as green and blue, in the shape of `voxels`.
        missing: Indices of the channels that the image lacks, counted from 0 for `voxels`; their arrays are 0.
    """

    voxels: NDArray[Any]
    affine: NDArray[Any]
    header: Header | None = None
    others: tuple[NDArray[Any], ...] = ()
    missing: frozenset[int] = frozenset()

    @property
    def stored_bytes(self) -> int:
        """Size of one stored value in bytes."""
        if self.header is None:
            return self.voxels.dtype.itemsize
        return self.header.bytes_per_voxel // self.header.components or self.header.bytes_per_voxel

    @property
    def origins(self) -> NDArray[Any] | None:
        """Positions of the slices if they are not on a regular grid; see `Header`."""
        return self.header.origins if self.header else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the image that its users should know."""
        return self.header.notes if self.header else ()

    @property
    def in_pixels(self) -> bool:
        """Whether the image is a picture, which has no geometry; see `Header`."""
        return self.header is not None and self.header.in_pixels
