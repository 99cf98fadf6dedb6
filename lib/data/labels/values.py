"""Check that the voxels of a label are whole numbers, and count them by value."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject

IGNORE = 255
"""Label value of voxels that losses and metrics leave out."""
MAX_STORED = 2**16 - 1
"""Largest size of a stored value, before names map it to a label: the range of uint16."""


def whole_numbers(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return voxels as integers of the same shape.

    Args:
        voxels: ``(X, Y)`` or ``(X, Y, Z)``, of any numeric type.
    Raises:
        InputRejected: LABEL_VALUES if voxels hold fractions, are not finite, or are far from any label value.
    """
    if voxels.dtype in (np.uint8, np.int16, np.uint16):
        return voxels
    with np.errstate(invalid="ignore"):
        wrong = ~(np.rint(voxels) == voxels)  # also true for nan
        wrong |= ~((voxels >= -MAX_STORED) & (voxels <= MAX_STORED))
    if wrong.any():
        place, count = first_voxel(wrong), int(np.count_nonzero(wrong))
        found = float(voxels[place])
        shown = f"{found:g}" if f"{found:g}" != f"{found:.0f}" else repr(found)  # 4.99999999 must not look like 5
        example = f"{shown} at voxel {_at(place)}"
        reason = f"{count:,} of {voxels.size:,} voxels hold no whole number up to {MAX_STORED}, such as {example}."
        remedy = "Export the label again without interpolation (nearest neighbour); label values are whole numbers."
        raise reject("LABEL_VALUES", reason, remedy)
    return voxels.astype(np.int32)


def count_values(voxels: NDArray[Any]) -> dict[int, int]:
    """Return the number of voxels of each value, in the order of the values.

    Args:
        voxels: Integers, ``(X, Y)`` or ``(X, Y, Z)``.
    """
    low, high = int(voxels.min()), int(voxels.max())
    counts = np.zeros(high - low + 1, np.int64)
    for plane in np.moveaxis(voxels, -1, 0):  # by planes, because bincount copies to 8 bytes per voxel
        counts += np.bincount((plane.ravel().astype(np.int64) - low), minlength=len(counts))
    return {low + int(index): int(counts[index]) for index in np.flatnonzero(counts)}


def check_values(voxels: NDArray[Any], present: Mapping[int, int], values: Mapping[str, int] | None) -> None:
    """Refuse values that are neither background, nor a label, nor `IGNORE`.

    Args:
        voxels: Label values, for the place of the first wrong voxel.
        present: Number of voxels of each value.
        values: The app's value of each label; None accepts 0 to `IGNORE`.
    Raises:
        InputRejected: LABEL_VALUES.
    """
    known = range(IGNORE + 1) if values is None else {0, IGNORE, *values.values()}
    wrong = {value: count for value, count in present.items() if value not in known}
    if not wrong:
        return
    place = first_voxel(~np.isin(voxels, list(known)))
    shown = ", ".join(f"{value} ({count:,} voxels)" for value, count in list(wrong.items())[:8])
    some = "value" if len(wrong) == 1 else "values"
    reason = (
        f"The label has the {some} {shown}, which {'is' if len(wrong) == 1 else 'are'} not known; "
        f"the first is {int(voxels[place])} at voxel {_at(place)}."
    )
    labels = f"the values from 1 to {IGNORE - 1}"
    if values is not None:
        labels = ", ".join(f"{value} {name}" for name, value in values.items())
    raise reject("LABEL_VALUES", reason, f"Use only these values: 0 background, {labels}, {IGNORE} ignore.")


def first_voxel(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the index of the first true voxel of a mask that is not empty."""
    return tuple(int(index) for index in np.unravel_index(int(mask.argmax()), mask.shape))


def _at(place: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, place))})"
