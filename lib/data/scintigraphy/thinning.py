"""Simulate a rapid scan from a standard scan: keep each recorded count with a fixed probability."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]


def thin(counts: Counts, fraction: float, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Return the counts of a simulated rapid scan, and the complementary counts.

    For Poisson counts with mean m, the rapid counts are Poisson with mean ``m f``, the complementary counts with mean
    ``m (1 - f)``, and they are independent. Train and judge a restoration with the complementary counts, because the
    whole scan contains the noise of the rapid counts.

    Args:
        counts: Recorded counts, integers of any shape.
        fraction: Fraction f of the counts to keep, above 0 and below 1.
        rng: Random generator.
    Returns:
        Rapid and complementary counts in the dtype and shape of `counts`; their sum is `counts`.
    Raises:
        ValueError: If the fraction is not between 0 and 1, or the counts are not integers or are negative.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie above 0 and below 1, got {fraction}")
    if counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise ValueError(f"counts must be integers and not negative, got {counts.dtype}")
    rapid = rng.binomial(counts, fraction).astype(counts.dtype)
    return rapid, counts - rapid
