"""Bootstrap intervals have the right coverage, repeat with their seed and leave undefined scores out."""

import math

import numpy as np
import pytest

from lib.evaluation.bootstrap import mean_interval, paired_difference


def test_the_mean_lies_within_the_interval() -> None:
    interval = mean_interval([0.8, 0.9, 0.7, 1.0], seed=0)
    assert interval.mean == pytest.approx(0.85) and interval.count == 4
    assert 0.7 <= interval.low < interval.mean < interval.high <= 1.0


def test_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400).tolist()
    interval = mean_interval(values, seed=0)
    half = 1.96 * np.std(values) / math.sqrt(400)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.08)


def test_coverage_is_about_95_percent() -> None:
    """100 experiments of 40 cases: 95 are expected; fewer than 86 have a probability of about 1 in 10,000."""
    rng = np.random.default_rng(2)
    intervals = [mean_interval(rng.normal(0, 1, 40).tolist(), seed=trial) for trial in range(100)]
    assert 86 <= sum(one.low <= 0 <= one.high for one in intervals) < 100


def test_the_interval_follows_its_seed() -> None:
    values = np.random.default_rng(3).random(30).tolist()
    assert mean_interval(values, seed=4) == mean_interval(values, seed=4)
    assert mean_interval(values, seed=4) != mean_interval(values, seed=5)


def test_undefined_scores_are_left_out() -> None:
    interval = mean_interval([1.0, math.nan, 3.0, math.inf], seed=0)
    assert interval.mean == 2.0 and interval.count == 2


@pytest.mark.parametrize(("values", "mean", "count"), [([], math.nan, 0), ([0.4], 0.4, 1), ([math.nan], math.nan, 0)])
def test_too_few_cases_have_no_interval(values: list[float], mean: float, count: int) -> None:
    interval = mean_interval(values, seed=0)
    assert interval.mean == pytest.approx(mean, nan_ok=True) and interval.count == count
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_pairing_shows_a_difference_that_separate_intervals_hide() -> None:
    reference = np.linspace(0.2, 0.9, 12)
    values = reference + 0.02 + 0.005 * np.cos(np.arange(12))
    difference = paired_difference(values.tolist(), reference.tolist(), seed=0)
    separate = mean_interval(values.tolist(), seed=0), mean_interval(reference.tolist(), seed=0)
    assert difference.low > 0 and separate[0].low < separate[1].high


def test_pairs_need_two_finite_values_and_equal_lengths() -> None:
    difference = paired_difference([1.0, math.nan, 3.0], [0.5, 0.5, math.nan], seed=0)
    assert difference.mean == 0.5 and difference.count == 1
    with pytest.raises(ValueError, match="argument"):
        paired_difference([1.0], [1.0, 2.0], seed=0)
