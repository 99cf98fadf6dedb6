"""How long a simulated person takes: a model of the work, not a measurement of anybody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Effort:
    """What each piece of work takes.

    Args:
        look_seconds: To open a case and look through it.
        draw_mm_per_second: Contour drawn or redrawn.
        click_seconds: A click, and the look at what it did.
    """

    look_seconds: float = 30.0
    draw_mm_per_second: float = 10.0
    click_seconds: float = 3.0

    def seconds(self, *, drawn_mm: float = 0.0, clicks: int = 0) -> float:
        """Return the time of one case."""
        return self.look_seconds + drawn_mm / self.draw_mm_per_second + clicks * self.click_seconds


def added_path_mm(
    label: NDArray[np.integer],
    proposal: NDArray[np.integer] | None,
    values: Mapping[str, int],
    spacing_mm: Sequence[float],
) -> float:
    """Return the length of contour that must be drawn, slice by slice, to make a label of a proposal.

    A contour pixel of the label counts where the proposal has none within a pixel; one more length is that of contours
    on slices where the label has nothing: those must be taken away.

    Args:
        label: What is wanted, ``(X, Y, Z)``.
        proposal: What there is; None for a blank image.
        values: Value of each class.
        spacing_mm: Of the voxels.
    Returns:
        Sum over classes and slices, mm.
    Source:
        Vaassen et al. 2020, doi:10.1016/j.phro.2019.12.001 (added path length); the tolerance of one pixel is theirs.
    """
    pixel_mm = float(np.sqrt(spacing_mm[0] * spacing_mm[1]))
    pixels = 0
    for value in values.values():
        wanted = label == value
        there = np.zeros_like(wanted) if proposal is None else proposal == value
        ours, theirs = _contours(wanted), _contours(there)
        pixels += int(np.logical_and(ours, np.logical_not(binary_dilation(theirs, _CROSS))).sum())
        superfluous = there.any(axis=(0, 1)) & ~wanted.any(axis=(0, 1))
        pixels += int(theirs[..., superfluous].sum())
    return pixels * pixel_mm


_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[..., None]


def _contours(mask: Mask) -> Mask:
    return np.logical_and(mask, np.logical_not(binary_erosion(mask, _CROSS)))
