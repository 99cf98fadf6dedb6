"""Thinned counts: seeds, sums, means, Poisson variance, independence."""

import numpy as np
import pytest

from lib.data.scintigraphy.thinning import thin

MEAN = 40.0
COUNTS = np.random.default_rng(0).poisson(MEAN, (400, 500)).astype(np.int32)
ERROR = 5 / np.sqrt(COUNTS.size)
"""Five standard errors of a mean of unit variance."""


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.1])
def test_mean_and_variance_are_those_of_poisson_counts(fraction: float) -> None:
    rapid, complement = thin(COUNTS, fraction, np.random.default_rng(1))
    for part, share in ((rapid, fraction), (complement, 1 - fraction)):
        mean = MEAN * share
        assert part.mean() == pytest.approx(mean, abs=ERROR * np.sqrt(mean))
        assert part.var() == pytest.approx(mean, rel=ERROR * np.sqrt(2 + 1 / mean))


def test_rapid_and_complementary_counts_add_up_and_are_independent() -> None:
    rapid, complement = thin(COUNTS, 0.5, np.random.default_rng(1))
    np.testing.assert_array_equal(rapid + complement, COUNTS)
    assert rapid.dtype == complement.dtype == COUNTS.dtype and complement.min() >= 0
    assert abs(np.corrcoef(rapid.ravel(), complement.ravel())[0, 1]) < ERROR
    assert np.corrcoef(rapid.ravel(), COUNTS.ravel())[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_same_seed_gives_the_same_scan() -> None:
    one, same, other = (thin(COUNTS, 0.5, np.random.default_rng(seed))[0] for seed in (7, 7, 8))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("counts", "fraction"),
    [(COUNTS, 0.0), (COUNTS, 1.0), (COUNTS, np.nan), (COUNTS / 2, 0.5), (COUNTS - 100, 0.5)],
)
def test_bad_counts_or_fractions_are_refused(counts: np.ndarray, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"fraction|counts"):
        thin(counts, fraction, np.random.default_rng(0))
