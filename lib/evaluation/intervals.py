"""Confidence intervals of means over cases.

Cases are the sample, never voxels: voxels of one patient are not independent. The intervals are Student's at the level
`STUDENT_LEVEL`, with which they cover 95 % in comparisons of our own networks (`benchmarks/results/coverage.md`). The
percentile bootstrap covered 69 to 83 % there with three to eight cases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE, STUDENT_LEVEL = 0.95, 0.98
"""The coverage of the intervals, and the level of Student's t at which they reach it: differences of scores have longer
tails than normal ones, for which they cover 98 %."""
FEWEST_CASES = 3
"""With fewer cases no interval is shown: with two it would be 32 times as wide as their distance and decide nothing."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval over `count` cases.

    `low` and `high` are nan below `FEWEST_CASES` cases; `mean` is nan without a case.
    """

    mean: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of the finite `values` and its 95 % interval by Student's t.

    A failure that is rarer than one in `count` cases is often not in the sample, and then no interval from the sample
    alone can know of it.

    Args:
        values: One number per case; nan and inf (an undefined score) are left out.
    Returns:
        The mean, its interval and the number of finite values.
    Source:
        Student 1908, Biometrika 6(1).
    """
    finite = np.asarray([value for value in values if math.isfinite(value)], float)
    count, mean = len(finite), float(finite.mean()) if len(finite) else math.nan
    if count < FEWEST_CASES:
        return Interval(mean, math.nan, math.nan, count)
    half = t_quantile(count - 1) * float(finite.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def t_quantile(degrees: float) -> float:
    """Return the half width of the 95 % interval in standard errors, for a number of degrees of freedom."""
    return float(special.stdtrit(degrees, (1 + STUDENT_LEVEL) / 2))


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Interval:
    """Return the mean of ``values - reference`` over cases, with its interval.

    Pairing removes the variation between cases, so it shows differences that two separate intervals hide.

    Args:
        values: One number per case.
        reference: Number of the reference model for the same cases, in the same order.
    Returns:
        The interval over the cases where both numbers are finite. The difference is significant if it excludes 0.
    Raises:
        ValueError: If the lengths differ.
    """
    return mean_interval([one - other for one, other in zip(values, reference, strict=True)])
