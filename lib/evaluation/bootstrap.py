"""Percentile bootstrap intervals over cases.

Cases are drawn, never voxels: voxels of one patient are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; `low` and `high` are nan below two cases, `mean` too without any."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float], *, seed: int) -> Interval:
    """Return the mean of the finite `values` and its 95 % percentile bootstrap interval.

    Args:
        values: One number per case; nan and inf (a score that is not defined there) are left out.
        seed: Seed of the resampling; the same seed gives the same interval.
    Returns:
        The mean, the interval and the number of cases in it.
    Source:
        Efron & Tibshirani 1993, ch. 13.
    """
    finite = np.asarray([value for value in values if math.isfinite(value)], float)
    count = len(finite)
    if count < 2:
        return Interval(float(finite[0]) if count else math.nan, math.nan, math.nan, count)
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(finite[drawn].mean(axis=1), [tail, 100 - tail])
    return Interval(float(finite.mean()), float(low), float(high), count)


def paired_difference(ours: Sequence[float], theirs: Sequence[float], *, seed: int) -> Interval:
    """Return the mean of ``ours - theirs`` over cases, with its interval.

    Pairing takes out the difficulty of a case, so it sees differences that two separate intervals hide.

    Args:
        ours: One number per case.
        theirs: The other model's number for the same cases, in the same order.
        seed: Seed of the resampling.
    Returns:
        The interval over the cases where both are finite; one that holds no 0 is a difference.
    Raises:
        ValueError: If the lengths differ.
    """
    return mean_interval([one - other for one, other in zip(ours, theirs, strict=True)], seed=seed)
