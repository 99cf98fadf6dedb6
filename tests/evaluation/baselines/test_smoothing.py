"""The smoothing baselines preserve counts and reduce noise; complementary counts choose their strength."""

import numpy as np
import pytest

from lib.evaluation.baselines.smoothing import Smoother, best_strength, gaussian, non_local_means

TRUTH = np.full((2, 48, 40), 20.0)
TRUTH[:, 16:32, 12:28] = 60
RNG = np.random.default_rng(0)
RAPID = RNG.poisson(TRUTH * 0.5)
REST = RNG.poisson(TRUTH * 0.5)


@pytest.mark.parametrize(("smoother", "strength"), [(gaussian, 1.5), (non_local_means, 0.8)])
def test_noise_is_reduced_and_counts_are_preserved(smoother: Smoother, strength: float) -> None:
    smooth = smoother(RAPID, 0.5, strength)
    assert smooth.shape == RAPID.shape
    assert smooth.sum((1, 2)) == pytest.approx(2 * RAPID.sum((1, 2)), rel=1e-9)
    assert np.square(smooth - TRUTH).mean() < 0.5 * np.square(2 * RAPID - TRUTH).mean()


def test_non_local_means_keeps_edges_better() -> None:
    edge = np.s_[:, 14:18, 16:24]
    blurred, kept = gaussian(RAPID, 0.5, 2.0), non_local_means(RAPID, 0.5, 0.8)
    assert np.square(kept - TRUTH)[edge].mean() < np.square(blurred - TRUTH)[edge].mean()


def test_a_gaussian_by_hand() -> None:
    """A flat scan with half of the counts is doubled everywhere."""
    np.testing.assert_allclose(gaussian(np.full((1, 8, 8), 5), 0.5, 2.0), 10)


def test_the_best_strength_is_neither_the_weakest_nor_the_strongest() -> None:
    strengths = (0.1, 1.0, 6.0)
    assert best_strength(gaussian, [(RAPID, REST)], 0.5, strengths) == 1.0
