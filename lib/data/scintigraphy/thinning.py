"""Rapid scans out of whole ones: each recorded count is kept with one probability, which is what less time keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]


def thin(counts: Counts, fraction: float, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Return the counts of a rapid scan and the complementary ones, which are independent of them.

    Of Poisson counts of mean m the first are Poisson of mean ``m f``, the second of ``m (1 - f)``, and neither tells of
    the other's noise. A restoration is judged and taught by the second: the whole scan holds the first, noise and all.

    Args:
        counts: Recorded counts, integers, of any shape.
        fraction: f, above 0 and below 1.
        rng: The random numbers.
    Returns:
        Both in the dtype and shape of `counts`; their sum is `counts`.
    Raises:
        ValueError: If the fraction cannot be, or the counts are no counts.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie above 0 and below 1, got {fraction}")
    if counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise ValueError(f"counts are integers and not negative, got {counts.dtype}")
    rapid = rng.binomial(counts, fraction).astype(counts.dtype)
    return rapid, counts - rapid
