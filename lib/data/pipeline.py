"""The one reading: file to Hounsfield units on a RAS grid of fixed spacing, and labels back to the file's own grid."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from lib.data.findings import reject
from lib.data.formats import Volume, load, read_header
from lib.data.volumes.body import body_box
from lib.data.volumes.grid import Grid
from lib.data.volumes.restore import restore
from lib.data.volumes.save import write_volume

IGNORE = 255
"""The label of voxels that neither losses nor metrics count."""
SAME_GRID_VOXELS = 0.5
"""How far the corners of a label may lie from those of its image."""


@dataclass(frozen=True)
class ImageSpec:
    """How a network wants its images.

    Args:
        spacing_mm: Sample spacing towards right, anterior and superior, in mm.
        window_hu: Hounsfield units that become 0 and 1; the first above the second makes dark bright.
        roi: Patch size in samples: two entries for a 2.5-D network, three for a 3-D one.
        slice_offsets: Slices, relative to the labelled one, that a 2.5-D network takes as channels.
        crop_margin_mm: How much to keep around the body, in mm; None keeps the whole field of view. What is cut off is
            background in every answer.
    """

    spacing_mm: tuple[float, float, float]
    window_hu: tuple[float, float]
    roi: tuple[int, ...]
    slice_offsets: tuple[int, ...] = (0,)
    crop_margin_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """An image on the network's grid, and the way back to its file.

    Args:
        hu: Hounsfield units, not windowed, float32 ``(1, X, Y, Z)``; a 2-D source has one slice.
        label: Labels on the same grid, uint8 ``(X, Y, Z)``.
        grid: The mapping between both grids.
    """

    hu: Tensor
    label: Tensor | None
    grid: Grid

    @property
    def affine(self) -> NDArray[Any]:
        """``(4, 4)``, grid index to RAS+ mm."""
        return self.grid.affine

    @property
    def source_affine(self) -> NDArray[Any]:
        """``(4, 4)``, source index to RAS+ mm."""
        return self.grid.source_affine

    @property
    def source_shape(self) -> tuple[int, ...]:
        """``(X, Y)`` or ``(X, Y, Z)`` of the file."""
        return self.grid.source_shape

    @property
    def source_codes(self) -> tuple[str, ...]:
        """Where the axes of the file point, such as ``("L", "P", "S")``."""
        return tuple(str(code) for code in nib.aff2axcodes(self.source_affine))

    def to_source(self, label: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Return a label ``(X, Y, Z)`` of the grid on exactly the source grid (shape, axis order, flips)."""
        return self.grid.label_to_source(torch.as_tensor(label).to(torch.uint8))

    def restore(self, slabs: Iterable[tuple[int, Tensor]]) -> NDArray[np.uint8]:
        """Return logits of the grid, as `Predictor.slabs` yields them, as labels on exactly the source grid."""
        return restore(slabs, self.grid)

    def points_to_grid(self, ijk: ArrayLike) -> NDArray[Any]:
        """Return voxel indices ``(n, 3)`` of the source as indices of the grid, not rounded."""
        return _transform(np.linalg.inv(self.grid.to_source), ijk)

    def points_to_source(self, xyz: ArrayLike) -> NDArray[Any]:
        """Return indices ``(n, 3)`` of the grid as voxel indices of the source, not rounded."""
        return _transform(self.grid.to_source, xyz)


def _transform(matrix: NDArray[Any], points: ArrayLike) -> NDArray[Any]:
    points = np.asarray(points, np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def read(source: str | Path | Volume, spec: ImageSpec, label: str | Path | None = None) -> Reading:
    """Return an image, and its label if given, as the network sees them.

    Hounsfield units are interpolated linearly, with a wider kernel where samples get coarser; labels take the nearest
    voxel. An oblique volume keeps its own axes, in the order and sense closest to RAS.

    Args:
        source: An image file, the folder of a DICOM series, or a volume that `lib.data.validate.check` returned.
        spec: The grid wanted.
        label: A label file on the grid of the image.
    Raises:
        InputRejected: If a file cannot be opened, or the label lies on another grid.
    """
    volume = source if isinstance(source, Volume) else load(source)
    grid = Grid.over(volume.voxels.shape, volume.affine, spec.spacing_mm)
    if spec.crop_margin_mm is not None:
        box = body_box(volume.voxels, np.linalg.norm(volume.affine[:3, :3], axis=0), spec.crop_margin_mm)
        grid = grid if box is None else grid.cropped(box)
    labels = None if label is None else grid.label(load_label(label, volume.voxels.shape, volume.affine))
    return Reading(grid.image(volume.voxels)[None], labels, grid)


def load_label(path: str | Path, shape: tuple[int, ...], affine: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the voxels of a label file that lies on the grid of an image, in the image's shape.

    Args:
        path: The label file.
        shape: The image's, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: The image's, ``(4, 4)``, voxel index to RAS+ mm.
    Raises:
        InputRejected: If it cannot be opened, lies on another grid, or holds no labels.
    """
    header = read_header(path)
    # The header first: what has another size is not loaded, however large it says it is.
    fits = prod(header.shape) == prod(shape) and header.components == 1
    label = load(path, header) if fits else None
    if label is None or not _corner_drift(label, shape, affine) <= SAME_GRID_VOXELS:
        reason = f"The label '{Path(path).name}' {header.shape} is not on the grid {shape} of its image."
        raise reject("LABEL_GRID", reason, "Export the label with the image as reference.")
    voxels = np.rint(label.voxels)
    if not (voxels.min() >= 0 and voxels.max() <= IGNORE):
        reason = f"The label '{Path(path).name}' holds values from {voxels.min():g} to {voxels.max():g}."
        raise reject("LABEL_VALUES", reason, f"Labels run from 0 to {IGNORE}, {IGNORE} for voxels to ignore.")
    return voxels.astype(np.uint8).reshape(shape)


def _corner_drift(label: Volume, shape: tuple[int, ...], affine: NDArray[Any]) -> float:
    """Return how many voxels the farthest corner of the image moves under the label's geometry."""
    if (*label.voxels.shape, 1)[:3] != (*shape, 1)[:3]:
        return float("inf")
    sizes = np.array((*shape, 1)[:3])
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in sizes]), -1).reshape(-1, 3)
    moved = _transform(np.linalg.inv(affine) @ label.affine, corners)
    return float(np.abs(moved - corners).max())


def window(hu: Tensor, window_hu: Sequence[float]) -> Tensor:
    """Return Hounsfield units as ``[0, 1]`` between the two ends of the window, clamped."""
    low, high = window_hu
    return ((hu - low) / (high - low)).clamp_(0, 1)


def save_label(array: NDArray[Any], where: Reading | ArrayLike, path: str | Path, dtype: DTypeLike = np.uint8) -> Path:
    """Write a label that lies on a source grid, atomically.

    Args:
        array: ``(X, Y)`` or ``(X, Y, Z)``, as `Reading.to_source` returns it.
        where: The reading, or the affine ``(4, 4)`` of that grid.
        path: ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
        dtype: Stored type.
    Raises:
        ValueError: If the array is not on the grid of the reading, or the suffix is unknown.
    """
    if isinstance(where, Reading) and array.shape != where.source_shape:
        raise ValueError(f"label has shape {array.shape}, its source {where.source_shape}")
    affine = where.source_affine if isinstance(where, Reading) else where
    return write_volume(np.asarray(array, dtype), affine, path)
