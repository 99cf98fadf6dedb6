"""Percentile bootstrap intervals over cases.

Cases are resampled, never voxels: voxels of one patient are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its interval over `count` cases.

    `low` and `high` are nan below two cases; `mean` is nan without a case.
    """

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float], *, seed: int) -> Interval:
    """Return the mean of the finite `values` and its 95 % percentile bootstrap interval.

    Args:
        values: One number per case; nan and inf (an undefined score) are left out.
        seed: Seed of the resampling; the same seed gives the same interval.
    Returns:
        The mean, its interval and the number of finite values.
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


def paired_difference(values: Sequence[float], reference: Sequence[float], *, seed: int) -> Interval:
    """Return the mean of ``values - reference`` over cases, with its interval.

    Pairing removes the variation between cases, so it shows differences that two separate intervals hide.

    Args:
        values: One number per case.
        reference: Number of the reference model for the same cases, in the same order.
        seed: Seed of the resampling.
    Returns:
        The interval over the cases where both numbers are finite. The difference is significant if it excludes 0.
    Raises:
        ValueError: If the lengths differ.
    """
    return mean_interval([one - other for one, other in zip(values, reference, strict=True)], seed=seed)
