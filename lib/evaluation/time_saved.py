"""Estimate the time that proposals save: work on cases with a proposal against cases drawn at random to have none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation.intervals import Interval, t_quantile

MIN_CASES = 5


@dataclass(frozen=True)
class TimeSaved:
    """Difference in work between cases without and with a proposal.

    Args:
        seconds: Seconds saved per case, with interval; its count is the number of all cases.
        share: Seconds saved as a share of the work without a proposal, with interval.
        blank: Number of cases without a proposal.
        proposed: Number of cases with a proposal.
    """

    seconds: Interval
    share: Interval
    blank: int
    proposed: int


def time_saved(blank: Sequence[float], proposed: Sequence[float]) -> TimeSaved | None:
    """Return the time that a proposal saves, with 95 % intervals over cases.

    Means are compared and not medians, because the total cost is a sum over cases. The interval of the difference is
    Welch's, that of the share Fieller's for a ratio of means. The latter is nan where the mean time without a proposal
    is not shown to be above 0.

    Args:
        blank: Seconds of work on each case without a proposal.
        proposed: Seconds of work on each case with a proposal; no case occurs in both.
    Returns:
        The estimate; None below `MIN_CASES` in either arm, or if all cases without a proposal took 0 s.
    Source:
        Welch 1947, Biometrika 34(1-2); Fieller 1954, Journal of the Royal Statistical Society B 16(2).
    """
    arms = [np.asarray(arm, float) for arm in (blank, proposed)]
    if min(map(len, arms)) < MIN_CASES or not arms[0].any():
        return None
    (before, after), (noise_before, noise_after) = (
        [float(arm.mean()) for arm in arms],
        [float(arm.var(ddof=1)) / len(arm) for arm in arms],
    )
    noise, count = noise_before + noise_after, len(blank) + len(proposed)
    quantile = _welch_quantile((noise_before, noise_after), (len(blank), len(proposed)))
    half, (low, high) = quantile * math.sqrt(noise), _ratio(after, before, noise_after, noise_before, quantile)
    return TimeSaved(
        seconds=Interval(before - after, before - after - half, before - after + half, count),
        share=Interval(1 - after / before, 1 - high, 1 - low, count),
        blank=len(blank),
        proposed=len(proposed),
    )


def _welch_quantile(noises: tuple[float, float], counts: tuple[int, int]) -> float:
    """Return the half width of the interval in standard errors; `noises` are squared standard errors of two means."""
    spread = sum(noise**2 / (count - 1) for noise, count in zip(noises, counts, strict=True))
    return t_quantile(sum(noises) ** 2 / spread) if spread else 0.0


def _ratio(upper: float, lower: float, noise_upper: float, noise_lower: float, quantile: float) -> tuple[float, float]:
    """Return the interval of the ratio ``upper / lower`` of two independent means; nan if it has no bounds."""
    square = lower**2 - quantile**2 * noise_lower
    if square <= 0:
        return math.nan, math.nan
    product = upper * lower
    root = math.sqrt(max(0.0, product**2 - square * (upper**2 - quantile**2 * noise_upper)))
    return (product - root) / square, (product + root) / square
