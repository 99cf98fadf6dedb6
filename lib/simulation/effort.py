"""Estimate the working time of a simulated annotator; the numbers are a model and were not measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Effort:
    """Time needed for the parts of the work.

    Args:
        look_seconds: Time to open a case and look through it, in seconds.
        draw_mm_per_second: Speed of drawing a contour, in mm per second.
        click_seconds: Time for a click and a look at its result, in seconds.
    """

    look_seconds: float = 30.0
    draw_mm_per_second: float = 10.0
    click_seconds: float = 3.0

    def seconds(self, *, drawn_mm: float = 0.0, clicks: int = 0) -> float:
        """Return the working time of one case, in seconds."""
        return self.look_seconds + drawn_mm / self.draw_mm_per_second + clicks * self.click_seconds


def added_path_mm(
    label: NDArray[np.integer],
    proposal: NDArray[np.integer] | None,
    values: Mapping[str, int],
    spacing_mm: Sequence[float],
) -> float:
    """Return the length of contour that must be drawn, slice by slice, to change a proposal into the label.

    A contour pixel of the label counts if the proposal has no contour within one pixel. Contours of the proposal on
    slices without a label also count, because they must be deleted.

    Args:
        label: Label to reach, ``(X, Y, Z)``.
        proposal: Proposed label, ``(X, Y, Z)``; None if there is none.
        values: Label value of each class.
        spacing_mm: Voxel spacing, in mm.
    Returns:
        Length in mm, summed over classes and slices.
    Source:
        Vaassen et al. 2020, doi:10.1016/j.phro.2019.12.001 (added path length, with its tolerance of one pixel).
    """
    pixel_mm = float(np.sqrt(spacing_mm[0] * spacing_mm[1]))
    pixels = 0
    for value in values.values():
        wanted = label == value
        proposed = np.zeros_like(wanted) if proposal is None else proposal == value
        wanted_contours, proposed_contours = _contours(wanted), _contours(proposed)
        near_proposed = binary_dilation(proposed_contours, _CROSS)
        pixels += int(np.logical_and(wanted_contours, np.logical_not(near_proposed)).sum())
        superfluous = proposed.any(axis=(0, 1)) & ~wanted.any(axis=(0, 1))
        pixels += int(proposed_contours[..., superfluous].sum())
    return pixels * pixel_mm


_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[..., None]


def _contours(mask: Mask) -> Mask:
    return np.logical_and(mask, np.logical_not(binary_erosion(mask, _CROSS)))
