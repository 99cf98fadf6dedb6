"""Estimate the time that proposals save: work on cases with a proposal against cases drawn at random to have none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation.bootstrap import CONFIDENCE, RESAMPLES, Interval

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


def time_saved(blank: Sequence[float], proposed: Sequence[float], *, seed: int) -> TimeSaved | None:
    """Return the time that a proposal saves, with 95 % percentile bootstrap intervals over cases.

    Means are compared and not medians, because the total cost is a sum over cases.

    Args:
        blank: Seconds of work on each case without a proposal.
        proposed: Seconds of work on each case with a proposal; no case occurs in both.
        seed: Seed of the resampling.
    Returns:
        The estimate; None below `MIN_CASES` in either arm, or if all cases without a proposal took 0 s.
    Source:
        Efron & Tibshirani 1993, ch. 8.3 (two samples) and 13.
    """
    arms = [np.asarray(arm, float) for arm in (blank, proposed)]
    if min(map(len, arms)) < MIN_CASES or not arms[0].any():
        return None
    generator = np.random.default_rng(seed)
    drawn = [arm[generator.integers(0, len(arm), (RESAMPLES, len(arm)))].mean(1) for arm in arms]
    # A resample whose cases all took 0 s has no share; it is nan.
    part = np.divide(drawn[1], drawn[0], out=np.full(RESAMPLES, np.nan), where=drawn[0] > 0)
    means, count = [float(arm.mean()) for arm in arms], len(blank) + len(proposed)
    tail = 50 * (1 - CONFIDENCE)

    def interval(value: float, values: np.ndarray) -> Interval:
        low, high = np.nanpercentile(values, [tail, 100 - tail])
        return Interval(value, float(low), float(high), count)

    return TimeSaved(
        seconds=interval(means[0] - means[1], drawn[0] - drawn[1]),
        share=interval(1 - means[1] / means[0], 1 - part),
        blank=len(blank),
        proposed=len(proposed),
    )
