"""Convert logits on the network's grid to labels on the source grid, slice by slice."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from lib.data.volumes.grid import AxisMap, Grid
from lib.ops.resample import Positions, interpolated_argmax


def restore(slabs: Iterable[tuple[int, torch.Tensor]], grid: Grid) -> NDArray[np.uint8]:
    """Return the class with the largest logit at each source voxel; logits are interpolated linearly.

    Nearest-neighbour labels would move boundaries by up to half a sample. Interpolated logits keep the boundary where
    the network predicts it. Two slices of logits and one slab are in memory at a time.

    Args:
        slabs: First grid slice and logits ``(K, X, Y, n)`` of each slab, in order and without gaps.
        grid: The grid of the logits.
    Returns:
        Labels, uint8 in `grid.source_shape`.
    Raises:
        ValueError: If the slabs do not cover the grid.
    """
    box = grid.box or tuple(slice(0, size) for size in (*grid.source_shape, 1)[:3])
    rows, columns, slices = (_source_positions(axis, box[axis.source_axis]) for axis in grid.axes)
    by_source_axis = sorted(range(3), key=lambda k: grid.axes[k].source_axis)
    # The first axis is fastest in files, so the array is stored with the last axis first.
    stored = torch.zeros([grid.axes[k].source_size for k in reversed(by_source_axis)], dtype=torch.uint8)
    volume = stored[box[2], box[1], box[0]].permute([2 - axis.source_axis for axis in grid.axes])
    above: list[list[int]] = [[] for _ in range(slices.size)]
    for index, high in enumerate(slices.high.tolist()):
        above[high].append(index)
    below, seen = None, 0
    for start, slab in slabs:
        if start != seen or slab.shape[1:3] != grid.shape[:2] or start + slab.shape[3] > slices.size:
            raise ValueError(f"slab {tuple(slab.shape)} at slice {start} does not continue the grid {grid.shape}")
        for current in slab.unbind(-1):
            for index in above[seen]:
                share, before = float(slices.fraction[index]), current if below is None else below
                volume[:, :, index] = interpolated_argmax(before, current, share, rows, columns)
            below, seen = current, seen + 1
        # The predictor may overwrite the slab when it computes the next one.
        below = None if below is None else below.clone()
    if seen != slices.size:
        raise ValueError(f"the slabs end at slice {seen} of {slices.size}")
    return stored.numpy().T.reshape(grid.source_shape, order="F")


def _source_positions(axis: AxisMap, side: slice) -> Positions:
    """Return the positions of the source voxels `side` along an axis of the grid."""
    voxels = torch.arange(side.start, side.stop, dtype=torch.float64)
    return Positions.at((voxels - axis.offset) / axis.step, axis.size)
