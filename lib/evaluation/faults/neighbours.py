"""Dilate, erode and close a mask by shifted copies, in milliseconds where the morphology of SciPy takes seconds."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def dilate(mask: Mask, steps: int = 1) -> Mask:
    """Return `mask` dilated by `steps` voxels over the 26-neighbourhood.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``.
        steps: Number of dilations.
    """
    out = mask.copy()
    for axis in range(mask.ndim):
        for _ in range(steps):
            view = np.moveaxis(out, axis, 0)
            before = view.copy()
            view[1:] |= before[:-1]
            view[:-1] |= before[1:]
    return out


def erode(mask: Mask, steps: int = 1) -> Mask:
    """Return `mask` eroded by `steps` voxels over the 26-neighbourhood; voxels outside the array count as mask."""
    return ~dilate(~mask, steps)


def close_gaps(mask: Mask) -> Mask:
    """Return `mask` with gaps of one or two voxels filled.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``, with an empty rim of at least two voxels.
    """
    return erode(dilate(mask))
