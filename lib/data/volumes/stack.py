"""The slices of a file as viewers show them, along its third axis, each in the sense in which networks see slices."""

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

THROUGH = 2
"""The axis of a file that viewers leaf through."""


class Stack:
    """A volume slice by slice, without a copy of the whole.

    A slice's rows and columns are the file's other two axes in the order right, anterior, superior, and run that way.
    Slices keep the file's own order.

    Args:
        volume: A 2-D one has one slice.
    """

    def __init__(self, volume: Volume) -> None:
        shape, affine = volume.voxels.shape, volume.affine
        self.shape, self.affine = tuple(shape), affine
        sizes_mm = voxel_sizes(affine)
        by_direction = np.argsort(io_orientation(affine)[:, 0])
        grid = Grid.over(shape, affine, [float(sizes_mm[axis]) for axis in by_direction])
        # At the source's own spacing a grid permutes and flips, nothing else.
        self._rows, self._columns = (axis for axis in grid.axes if axis.source_axis != THROUGH)
        self.spacing_mm = float(sizes_mm[self._rows.source_axis]), float(sizes_mm[self._columns.source_axis])
        self._voxels = volume.voxels if len(shape) == 3 else volume.voxels[..., None]

    def __len__(self) -> int:
        """The number of slices."""
        return self._voxels.shape[THROUGH]

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of every slice."""
        return self._rows.size, self._columns.size

    @property
    def nbytes(self) -> int:
        """What the voxels take in memory."""
        return self._voxels.nbytes

    def plane(self, index: int) -> Tensor:
        """Return a slice in HU, float32 ``(H, W)``."""
        return torch.from_numpy(np.array(self._turned(self._voxels[..., index]), np.float32, order="C"))

    def place(self, ijk: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the slice, row and column of a voxel of the file."""
        row, column = (int((ijk[axis.source_axis] - axis.offset) / axis.step) for axis in (self._rows, self._columns))
        return ijk[THROUGH], row, column

    def voxel(self, index: int, row: int, column: int) -> tuple[int, int, int]:
        """Return the voxel of the file at a slice's row and column."""
        ijk = [index] * 3
        for axis, at in ((self._rows, row), (self._columns, column)):
            ijk[axis.source_axis] = int(axis.step * at + axis.offset)
        return ijk[0], ijk[1], ijk[2]

    def masks(self, voxels: NDArray[Any]) -> dict[int, Tensor]:
        """Return the slices ``(H, W)`` of a label of the file's shape that hold anything, by their index."""
        slices = voxels.reshape(self._voxels.shape)
        filled = np.flatnonzero(slices.any(axis=(0, 1)))
        return {int(k): torch.from_numpy(np.array(self._turned(slices[..., k]), order="C")) for k in filled}

    def to_source(self, masks: Mapping[int, Tensor]) -> NDArray[np.uint8]:
        """Return masks of some slices, by their index, in exactly the file's shape and voxel order; elsewhere 0."""
        label = np.zeros(self._voxels.shape, np.uint8, order="F")
        for index, mask in masks.items():
            self._turned(label[..., index])[...] = mask.numpy()
        return label.reshape(self.shape, order="F")

    def _turned(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the file's ``(i, j)`` as rows and columns; to write to it is to write to the file's."""
        view = plane if self._rows.source_axis < self._columns.source_axis else plane.T
        return view[:: int(self._rows.step), :: int(self._columns.step)]
