"""Intervals have the right coverage with few cases and leave undefined scores out."""

import math

import numpy as np
import pytest
from scipy import stats

from lib.evaluation.intervals import FEWEST_CASES, mean_interval, paired_difference

TRIALS = 2000
SKEWED = np.array([-0.128, -0.017, -0.013, -0.013, -0.012, -0.008, -0.007, -0.004, 0.0, 0.001, 0.006, 0.015, 0.044])


def test_the_interval_is_students() -> None:
    values = [0.8, 0.9, 0.7, 1.0]
    interval = mean_interval(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert interval.mean == pytest.approx(0.85) and interval.count == 4
    assert (interval.low, interval.high) == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 5, 8, 20])
def test_coverage_is_95_percent_with_few_cases(count: int) -> None:
    """Of 2000 experiments 1900 are expected; fewer than 1870 or more than 1930 have a probability of 0.2 %."""
    rng = np.random.default_rng(count)
    intervals = [mean_interval(rng.normal(0, 1, count).tolist()) for _ in range(TRIALS)]
    assert 1870 <= sum(one.low <= 0 <= one.high for one in intervals) <= 1930
    assert sum(one.low > 0 for one in intervals) <= 0.04 * TRIALS, "one-sided error of the gate"


def test_a_failure_in_one_case_of_thirteen_is_often_not_covered() -> None:
    """A limit of every interval from few cases, which the documentation states: half of the samples have no failure."""
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.choice(SKEWED, 8).tolist()) for _ in range(TRIALS)]
    assert 0.75 < np.mean([one.low <= SKEWED.mean() <= one.high for one in intervals]) < 0.93


def test_undefined_scores_are_left_out() -> None:
    interval = mean_interval([1.0, math.nan, 3.0, math.inf, 5.0])
    assert interval.mean == 3.0 and interval.count == 3 and math.isfinite(interval.low)


@pytest.mark.parametrize(
    ("values", "mean", "count"),
    [([], math.nan, 0), ([0.4], 0.4, 1), ([math.nan], math.nan, 0), ([0.4, 0.6], 0.5, 2)],
)
def test_too_few_cases_have_no_interval(values: list[float], mean: float, count: int) -> None:
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(mean, nan_ok=True) and interval.count == count < FEWEST_CASES
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_pairing_shows_a_difference_that_separate_intervals_hide() -> None:
    reference = np.linspace(0.2, 0.9, 12)
    values = reference + 0.02 + 0.005 * np.cos(np.arange(12))
    difference = paired_difference(values.tolist(), reference.tolist())
    separate = mean_interval(values.tolist()), mean_interval(reference.tolist())
    assert difference.low > 0 and separate[0].low < separate[1].high


def test_pairs_need_two_finite_values_and_equal_lengths() -> None:
    difference = paired_difference([1.0, math.nan, 3.0], [0.5, 0.5, math.nan])
    assert difference.mean == 0.5 and difference.count == 1
    with pytest.raises(ValueError, match="argument"):
        paired_difference([1.0], [1.0, 2.0])
