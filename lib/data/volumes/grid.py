"""Map between the voxel grid of a file and the grid of a network: permute, flip and scale each axis.

The axes of the grid are parallel to those of the source, so oblique volumes stay oblique and resampling is separable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lib.data.volumes.body import Box

NEGLIGIBLE_VOXELS = 0.02
"""Shift over a whole axis, in voxels, below which two spacings are equal; headers store float32."""


@dataclass(frozen=True)
class AxisMap:
    """One axis of the grid: ``source index = step * grid index + offset`` along `source_axis`."""

    source_axis: int
    source_size: int
    size: int
    step: float
    offset: float

    @property
    def is_resampled(self) -> bool:
        """Whether the axis is resampled, not only kept or flipped."""
        return abs(self.step) != 1.0 or self.size != self.source_size

    def cropped(self, side: slice) -> "AxisMap":
        """Return the map of the samples that lie within a range of source indices."""
        ends = sorted((end - self.offset) / self.step for end in (side.start, side.stop - 1))
        first = min(max(ceil(ends[0]), 0), self.size - 1)
        last = min(max(floor(ends[1]), first), self.size - 1)
        return replace(self, size=last - first + 1, offset=self.offset + self.step * first)

    def source_span(self) -> slice:
        """Return the range of source indices that interpolation reads."""
        ends, reach = (self.offset, self.offset + self.step * (self.size - 1)), max(abs(self.step), 1.0)
        return slice(max(floor(min(ends) - reach), 0), min(ceil(max(ends) + reach) + 1, self.source_size))

    def relative_to(self, side: slice) -> "AxisMap":
        """Return the same map with source indices that are relative to a range of the source."""
        return replace(self, offset=self.offset - side.start, source_size=side.stop - side.start)

    def weights(self) -> Tensor:
        """Return linear interpolation weights ``(size, source_size)``; the kernel is wider for downsampling."""
        positions = torch.arange(self.size, dtype=torch.float64) * self.step + self.offset
        distance = (positions[:, None] - torch.arange(self.source_size, dtype=torch.float64)).abs()
        weights = (1 - distance / max(abs(self.step), 1.0)).clamp_min(0)
        return (weights / weights.sum(1, keepdim=True)).float()

    def source_indices(self) -> Tensor:
        """Return the nearest source index for each grid index, ``(size,)``."""
        return self._nearest(np.arange(self.size) * self.step + self.offset, self.source_size)

    def grid_indices(self) -> Tensor:
        """Return the nearest grid index for each source index, ``(source_size,)``."""
        return self._nearest((np.arange(self.source_size) - self.offset) / self.step, self.size)

    @staticmethod
    def _nearest(positions: NDArray[Any], size: int) -> Tensor:
        return torch.from_numpy(np.clip(np.rint(positions), 0, size - 1).astype(np.int64))


def _axis_map(source_axis: int, size: int, flip: float, spacing_mm: float, target_mm: float) -> AxisMap:
    """Return the map of an axis at a new spacing; the centre of the field of view stays in place."""
    step = target_mm / spacing_mm
    new_size = max(1, round(size / step))
    # A single slice has no neighbours to interpolate, and equal spacings must keep the voxels unchanged.
    if size == 1 or (new_size == size and abs(step - 1) * size < NEGLIGIBLE_VOXELS):
        new_size, step = size, 1.0
    step *= flip
    return AxisMap(source_axis, size, new_size, step, (size - 1) / 2 - step * (new_size - 1) / 2)


@dataclass(frozen=True, eq=False)
class Grid:
    """A RAS-ordered grid over a source, with the mapping in both directions.

    Args:
        axes: Maps of the three axes, in RAS order.
        source_affine: Affine ``(4, 4)`` from source index to RAS+ mm.
        source_shape: Shape of the source, ``(X, Y)`` or ``(X, Y, Z)``.
        box: Part of the source that the grid covers, one slice per axis; None for the whole source.
    """

    axes: tuple[AxisMap, AxisMap, AxisMap]
    source_affine: NDArray[Any]
    source_shape: tuple[int, ...]
    box: Box | None = None

    @classmethod
    def over(cls, source_shape: Sequence[int], source_affine: ArrayLike, spacing_mm: Sequence[float]) -> "Grid":
        """Return the closest-canonical grid over a source at a spacing.

        Args:
            source_shape: Shape of the source, ``(X, Y)`` or ``(X, Y, Z)``.
            source_affine: Affine ``(4, 4)`` from voxel index to RAS+ mm.
            spacing_mm: Sample spacing towards right, anterior and superior, in mm.
        """
        affine = np.asarray(source_affine, np.float64)
        sizes = (*source_shape, 1)[:3]
        source_mm = np.linalg.norm(affine[:3, :3], axis=0)
        orientation = nib.io_orientation(affine)
        order = [int(np.flatnonzero(orientation[:, 0] == k)[0]) for k in range(3)]
        maps = [_axis_map(p, sizes[p], orientation[p, 1], source_mm[p], spacing_mm[k]) for k, p in enumerate(order)]
        return cls((maps[0], maps[1], maps[2]), affine, tuple(source_shape))

    def cropped(self, box: Box) -> "Grid":
        """Return the part of the grid with samples in a box of the source; each axis keeps at least one sample."""
        x, y, z = (axis.cropped(box[axis.source_axis]) for axis in self.axes)
        return Grid((x, y, z), self.source_affine, self.source_shape, box)

    @property
    def shape(self) -> tuple[int, ...]:
        """Grid size ``(X, Y, Z)``."""
        return tuple(axis.size for axis in self.axes)

    @property
    def to_source(self) -> NDArray[Any]:
        """The affine ``(4, 4)`` from grid index to source index."""
        matrix = np.zeros((4, 4))
        for k, axis in enumerate(self.axes):
            matrix[axis.source_axis, k] = axis.step
            matrix[axis.source_axis, 3] = axis.offset
        matrix[3, 3] = 1
        return matrix

    @property
    def affine(self) -> NDArray[Any]:
        """The affine ``(4, 4)`` from grid index to RAS+ mm."""
        return self.source_affine @ self.to_source

    def image(self, voxels: NDArray[Any]) -> Tensor:
        """Return source voxels interpolated linearly on the grid, float32 ``(X, Y, Z)``."""
        parts = {axis.source_axis: axis.source_span() for axis in self.axes}
        axes = [axis.relative_to(parts[axis.source_axis]) for axis in self.axes]
        volume = _slices_first(voxels)[parts[2], parts[1], parts[0]].float()
        # Axes that shrink come first, so that the other axes have fewer values to interpolate.
        for axis in sorted(axes, key=lambda a: a.size / a.source_size):
            volume = _interpolate(volume, 2 - axis.source_axis, axis)
        turned = volume.permute([2 - axis.source_axis for axis in self.axes])
        result = torch.empty(turned.shape)
        # Copying plane by plane is more than twice as fast as one copy of the permuted volume.
        for target, plane in zip(result.unbind(1), turned.unbind(1), strict=True):
            target.copy_(plane)
        return result

    def label(self, voxels: NDArray[np.uint8]) -> Tensor:
        """Return nearest-neighbour labels on the grid, uint8 ``(X, Y, Z)``."""
        volume = _slices_first(voxels)
        for axis in self.axes:
            volume = volume.index_select(2 - axis.source_axis, axis.source_indices())
        return volume.permute([2 - axis.source_axis for axis in self.axes]).contiguous()

    def label_to_source(self, label: Tensor) -> NDArray[np.uint8]:
        """Return grid labels ``(X, Y, Z)`` on the source grid by nearest neighbour, uint8 in `source_shape`."""
        if tuple(label.shape) != self.shape:
            raise ValueError(f"the label has shape {tuple(label.shape)}, the grid {self.shape}")
        by_source_axis = sorted(range(3), key=lambda k: self.axes[k].source_axis)
        volume = label.permute(by_source_axis[::-1])
        for axis in self.axes:
            volume = volume.index_select(2 - axis.source_axis, axis.grid_indices())
        labels = volume.contiguous().numpy().T
        if self.box is not None:
            inside = np.zeros_like(labels)
            inside[self.box] = labels[self.box]
            labels = inside
        return labels.reshape(self.source_shape, order="F")


def _slices_first(voxels: NDArray[Any]) -> Tensor:
    """Return voxels as a contiguous tensor ``(Z, Y, X)``; the first axis is fastest in files, so this rarely copies."""
    voxels = voxels if voxels.ndim == 3 else voxels[..., None]
    native = voxels.T if voxels.flags.writeable else voxels.T.copy()
    return torch.from_numpy(np.ascontiguousarray(native))


def _interpolate(volume: Tensor, dim: int, axis: AxisMap) -> Tensor:
    """Return `volume` interpolated along one dimension; at these sizes a dense product is faster than gathering."""
    if not axis.is_resampled:
        return volume.flip(dim) if axis.step < 0 else volume
    weights, shape = axis.weights(), list(volume.shape)
    before, after = int(np.prod(shape[:dim])), int(np.prod(shape[dim + 1 :]))
    flat = volume.reshape(before, shape[dim], after)
    mapped = flat[..., 0] @ weights.T if after == 1 else torch.bmm(weights.expand(before, -1, -1), flat)
    return mapped.reshape([*shape[:dim], axis.size, *shape[dim + 1 :]])
