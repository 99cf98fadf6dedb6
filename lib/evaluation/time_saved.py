"""What proposals save: seconds of work on cases that got one, against cases that were drawn by lot to get none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.evaluation.bootstrap import CONFIDENCE, RESAMPLES, Interval

LEAST_CASES = 5


@dataclass(frozen=True)
class TimeSaved:
    """The difference between the two arms.

    Args:
        seconds: Saved per case, mean and interval; the count is that of all cases.
        share: Saved per case as a share of the work without a proposal.
        blank: Cases without a proposal.
        proposed: Cases with one.
    """

    seconds: Interval
    share: Interval
    blank: int
    proposed: int


def time_saved(blank: Sequence[float], proposed: Sequence[float], *, seed: int) -> TimeSaved | None:
    """Return what a proposal saves, with 95 % percentile bootstrap intervals over cases.

    Means and not medians: what an hour of annotators costs adds up.

    Args:
        blank: Seconds of work on each case without a proposal.
        proposed: Seconds on each other case; others, and none of them twice.
        seed: Seed of the resampling.
    Returns:
        The estimate; None below `LEAST_CASES` in either arm, or if the blank cases took no time at all.
    Source:
        Efron & Tibshirani 1993, ch. 8.3 (two samples) and 13.
    """
    arms = [np.asarray(arm, float) for arm in (blank, proposed)]
    if min(map(len, arms)) < LEAST_CASES or not arms[0].any():
        return None
    generator = np.random.default_rng(seed)
    drawn = [arm[generator.integers(0, len(arm), (RESAMPLES, len(arm)))].mean(1) for arm in arms]
    # Where a draw has cases without any work alone, there is no share of it.
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
