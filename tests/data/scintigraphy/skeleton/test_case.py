"""A case depends on its seed and has exact ground truth, with lesions at the stated places."""

import numpy as np
import pytest

from lib.data.scintigraphy.counts import dispersion
from lib.data.scintigraphy.skeleton import ScanCase, make_case
from lib.data.scintigraphy.skeleton.case import COUNTS_PER_VIEW

COARSE = 4.52


@pytest.fixture(scope="module")
def case() -> ScanCase:
    return make_case(3, pixel_mm=COARSE, lesions=4)


def test_same_seed_gives_the_same_scan(case: ScanCase) -> None:
    again, other = make_case(3, pixel_mm=COARSE, lesions=4), make_case(4, pixel_mm=COARSE, lesions=4)
    np.testing.assert_array_equal(again.counts, case.counts)
    assert again.lesions == case.lesions and not np.array_equal(other.counts, case.counts)


def test_mean_and_healthy_differ_only_in_lesions(case: ScanCase) -> None:
    bare = make_case(3, pixel_mm=COARSE, lesions=0)
    np.testing.assert_allclose(bare.mean, case.healthy, rtol=1e-5)
    assert (case.mean - case.healthy).min() > -1e-3 and len(case.lesions) == 4


def test_lesion_is_brightest_at_its_centre() -> None:
    for seed in range(6):
        case = make_case(seed, pixel_mm=COARSE, lesions=1)
        (lesion,) = case.lesions
        for view, (row, column) in enumerate(lesion.pixels):
            added = case.mean[view] - case.healthy[view]
            found = np.unravel_index(added.argmax(), added.shape)
            assert np.hypot(found[0] - row, found[1] - column) < 1.5, (seed, view)


def test_counts_are_drawn_from_the_mean(case: ScanCase) -> None:
    chi = (np.square(case.counts - case.mean) / np.maximum(case.mean, 0.1)).mean()
    assert chi == pytest.approx(1, abs=0.03)
    assert dispersion(case.counts) > 0.9
    least, most = COUNTS_PER_VIEW
    assert case.healthy.sum((1, 2)).min() > 0.8 * least and case.counts.sum((1, 2)).max() < 1.25 * most


def test_second_scan_with_a_fraction_of_the_time_is_independent(case: ScanCase) -> None:
    rapid = case.scan(0.25, np.random.default_rng(0))
    assert rapid.sum() == pytest.approx(0.25 * case.mean.sum(), rel=0.01)
    noise = [(counts - share * case.mean).ravel() for counts, share in ((rapid, 0.25), (case.counts, 1.0))]
    assert abs(np.corrcoef(*noise)[0, 1]) < 5 / np.sqrt(rapid.size)
    healthy = case.scan(1.0, np.random.default_rng(0), lesions=False)
    assert healthy.sum() == pytest.approx(case.healthy.sum(), rel=0.01)


def test_number_of_lesions_is_random_by_default() -> None:
    assert len({len(make_case(seed, pixel_mm=9.04).lesions) for seed in range(8)}) > 2
