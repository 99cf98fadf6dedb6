"""Slices of a file along its third axis, as viewers show them, oriented as networks expect."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation
from numpy.typing import NDArray
from torch import Tensor

from lib.data.formats import Volume
from lib.data.volumes.grid import Grid

SLICE_AXIS = 2
"""Axis of a file along which viewers scroll."""


class Stack:
    """Slices of a volume, without a copy of the whole volume.

    Rows and columns of a slice are the other two axes of the file, in the order right, anterior, superior, and point in
    these directions. Slices keep the order of the file.

    Args:
        volume: A volume; a 2-D volume has one slice.
    """

    def __init__(self, volume: Volume) -> None:
        shape, affine = volume.voxels.shape, volume.affine
        self.shape, self.affine = tuple(shape), affine
        sizes_mm = voxel_sizes(affine)
        by_direction = np.argsort(io_orientation(affine)[:, 0])
        grid = Grid.over(shape, affine, [float(sizes_mm[axis]) for axis in by_direction])
        # A grid at the spacing of the source only permutes and flips axes.
        self._rows, self._columns = (axis for axis in grid.axes if axis.source_axis != SLICE_AXIS)
        self.spacing_mm = float(sizes_mm[self._rows.source_axis]), float(sizes_mm[self._columns.source_axis])
        channels = (volume.voxels, *volume.others)
        self._channels = [voxels if len(shape) == 3 else voxels[..., None] for voxels in channels]

    def __len__(self) -> int:
        """The number of slices."""
        return self._channels[0].shape[SLICE_AXIS]

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Number of rows and columns of a slice."""
        return self._rows.size, self._columns.size

    @property
    def nbytes(self) -> int:
        """Size of the voxels in memory, in bytes."""
        return sum(voxels.nbytes for voxels in self._channels)

    def plane(self, index: int) -> Tensor:
        """Return the stored intensities of a slice, float32 ``(C, H, W)``."""
        channels = [self._oriented(voxels[..., index]) for voxels in self._channels]
        return torch.from_numpy(np.array(channels, np.float32, order="C"))

    def plane_position(self, ijk: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return slice, row and column of a voxel index of the file."""
        row, column = (int((ijk[axis.source_axis] - axis.offset) / axis.step) for axis in (self._rows, self._columns))
        return ijk[SLICE_AXIS], row, column

    def file_voxel(self, index: int, row: int, column: int) -> tuple[int, int, int]:
        """Return the voxel index of the file at a row and column of a slice."""
        ijk = [index] * 3
        for axis, at in ((self._rows, row), (self._columns, column)):
            ijk[axis.source_axis] = int(axis.step * at + axis.offset)
        return ijk[0], ijk[1], ijk[2]

    def masks(self, voxels: NDArray[Any]) -> dict[int, Tensor]:
        """Return the non-empty slices ``(H, W)`` of a label in the shape of the file, by slice index."""
        slices = voxels.reshape(self._channels[0].shape)
        filled = np.flatnonzero(slices.any(axis=(0, 1)))
        return {int(k): torch.from_numpy(np.array(self._oriented(slices[..., k]), order="C")) for k in filled}

    def to_source(self, masks: Mapping[int, Tensor]) -> NDArray[np.uint8]:
        """Return a label in the shape and voxel order of the file from masks by slice index; other slices are 0."""
        label = np.zeros(self._channels[0].shape, np.uint8, order="F")
        for index, mask in masks.items():
            self._oriented(label[..., index])[...] = mask.numpy()
        return label.reshape(self.shape, order="F")

    def _oriented(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return a view of a file plane ``(i, j)`` as rows and columns; writing to the view changes the file plane."""
        view = plane if self._rows.source_axis < self._columns.source_axis else plane.T
        return view[:: int(self._rows.step), :: int(self._columns.step)]
