"""The estimate of the time saved covers a known effect and an absent one, and is None for too few cases."""

import math

import numpy as np
import pytest

from lib.evaluation.time_saved import MIN_CASES, time_saved

TRIALS = 200


def arms(seed: int, effect: float, blank: int = 30, proposed: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return right-skewed seconds of work without and with proposals, which save the share `effect`."""
    draw = np.random.default_rng(seed)
    work = draw.lognormal(mean=5.0, sigma=0.5, size=blank + proposed)
    return work[:blank], work[blank:] * (1 - effect)


@pytest.mark.parametrize("effect", [0.0, 0.4, -0.2])
def test_a_known_effect_lies_within_the_interval(effect: float) -> None:
    mean = float(np.exp(5.0 + 0.5**2 / 2))
    covered = {"seconds": 0, "share": 0}
    for seed in range(TRIALS):
        found = time_saved(*arms(seed, effect))
        assert found is not None and (found.blank, found.proposed) == (30, 120)
        covered["seconds"] += found.seconds.low <= effect * mean <= found.seconds.high
        covered["share"] += found.share.low <= effect <= found.share.high
    assert all(0.9 * TRIALS <= count <= 0.99 * TRIALS for count in covered.values()), covered


def test_the_estimate_is_the_difference_of_the_means() -> None:
    found = time_saved([100.0, 120.0, 80.0, 100.0, 100.0], [50.0] * 5)
    assert found is not None and found.seconds.mean == 50 and found.share.mean == 0.5
    # Only the first arm varies: its standard error is sqrt(200 / 5), with four degrees of freedom.
    half = 3.7469 * 40**0.5
    assert (found.seconds.low, found.seconds.high) == pytest.approx((50 - half, 50 + half), rel=1e-4)
    assert (found.share.low, found.share.high) == pytest.approx(
        (1 - 50 / (100 - half), 1 - 50 / (100 + half)), rel=1e-4
    )


def test_a_time_that_may_be_0_gives_no_interval_of_the_share() -> None:
    found = time_saved([500.0, 0.0, 0.0, 0.0, 0.0], [50.0] * 5)
    assert found is not None and math.isnan(found.share.low) and math.isnan(found.share.high)


def test_too_few_cases_give_no_estimate() -> None:
    enough = [60.0] * MIN_CASES
    assert time_saved([0.0] * MIN_CASES, enough) is None
    assert time_saved(enough[1:], enough) is None and time_saved(enough, enough[1:]) is None
