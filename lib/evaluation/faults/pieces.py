"""Number the connected pieces of a mask and find their bounding boxes."""

import cc3d
import numpy as np
import numpy.typing as npt

from lib.evaluation.faults.neighbours import Mask

Numbered = npt.NDArray[np.unsignedinteger]
Box = tuple[slice, ...]


def number_pieces(mask: Mask, connectivity: int = 26) -> Numbered:
    """Return the number of the connected piece of each voxel, ``(X, Y, Z)``, 0 outside `mask`.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``.
        connectivity: Neighbourhood, 6 or 26.
    """
    return cc3d.connected_components(mask, connectivity=connectivity)  # type: ignore[arg-type]


def pieces_by_size(numbered: Numbered) -> list[tuple[int, int, Box]]:
    """Return number, voxel count and bounding box of each piece, the largest first."""
    found = cc3d.statistics(numbered)
    counts, sides = found["voxel_counts"], found["bounding_boxes"]
    order = sorted(range(1, len(counts)), key=lambda number: -int(counts[number]))
    return [(number, int(counts[number]), tuple(sides[number])) for number in order if counts[number]]


def pad_box(box: Box, shape: tuple[int, ...], margin: int) -> Box:
    """Return a box with `margin` more voxels on every side, clipped to an array of `shape`."""
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin)) for side, size in zip(box, shape, strict=True)
    )


def box_start(box: Box) -> npt.NDArray[np.int64]:
    """Return the first voxel index of a box, ``(3,)``."""
    return np.array([side.start for side in box])
