"""Scores of restored scans agree with values computed by hand and with scikit-image."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lib.evaluation.metrics.restoration import (
    contrast_to_noise,
    count_bias,
    deviance,
    disc,
    lesion_contrast,
    lesion_recovery,
    psnr,
    ssim,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.gamma(3.0, 4.0, (40, 30))
NOISY = RNG.poisson(TRUTH)


def test_psnr_by_hand() -> None:
    """An error of 2 everywhere and a range of 20 give 10 log10(400 / 4)."""
    assert psnr(TRUTH + 2, TRUTH, data_range=20) == pytest.approx(20)
    assert psnr(TRUTH, TRUTH, data_range=20) == math.inf


def test_psnr_and_ssim_agree_with_scikit_image() -> None:
    for kind in (np.float32, np.float64, np.int32):
        image, reference = NOISY.astype(kind), TRUTH.astype(kind)
        as_real = image.astype(np.float64), reference.astype(np.float64)
        assert psnr(image, reference, data_range=40) == pytest.approx(
            peak_signal_noise_ratio(as_real[1], as_real[0], data_range=40), rel=1e-9
        )
        assert ssim(image, reference, data_range=40) == pytest.approx(
            structural_similarity(as_real[1], as_real[0], data_range=40), rel=1e-9
        )
    assert ssim(TRUTH, TRUTH, data_range=40) == pytest.approx(1)


def test_count_bias_by_hand() -> None:
    reference, image = np.array([1, 2, 3, 4]), np.array([2, 2, 3, 4])
    assert count_bias(image, reference) == pytest.approx(0.1)
    assert count_bias(image, reference, np.array([True, True, False, False])) == pytest.approx(1 / 3)
    assert math.isnan(count_bias(image, np.zeros(4)))


def test_deviance_by_hand() -> None:
    """Counts of 0 and 4 with 2 expected give 2 (0 + 2) and 2 (4 ln 2 - 2)."""
    assert deviance(np.array([2.0, 2.0]), np.array([0, 4])) == pytest.approx((4 + 8 * math.log(2) - 4) / 2)
    assert deviance(np.array([3.0, 5.0]), np.array([3, 5])) == pytest.approx(0, abs=1e-9)


def test_deviance_is_smallest_at_the_true_mean() -> None:
    truth = np.full((300, 300), 25.0)
    counts = np.random.default_rng(1).poisson(truth)
    assert deviance(truth, counts) == pytest.approx(1, abs=0.03)
    assert min(deviance(truth * factor, counts) for factor in (0.9, 1.1)) > deviance(truth, counts) + 0.1


LESION = disc((20, 20), (10, 10), 2)
AROUND = disc((20, 20), (10, 10), 6, hole=3)


def test_discs_by_hand() -> None:
    assert disc((5, 5), (2, 2), 1).sum() == 5
    assert disc((5, 5), (2, 2), 1, hole=0.5).sum() == 4
    assert disc((5, 5), (0.5, 0.5), 0.8).sum() == 4
    assert not (LESION & AROUND).any()


def test_contrast_and_noise_by_hand() -> None:
    image = np.full((20, 20), 8.0)
    image[::2] = 12
    image[LESION] = 30
    around = image[AROUND]
    assert lesion_contrast(image, LESION, AROUND) == pytest.approx((30 - around.mean()) / around.mean())
    assert contrast_to_noise(image, LESION, AROUND) == pytest.approx((30 - around.mean()) / around.std())
    assert around.std() == pytest.approx(2, abs=0.1)
    flat = np.full((20, 20), 8.0)
    assert math.isnan(contrast_to_noise(flat, LESION, AROUND)) and lesion_contrast(flat, LESION, AROUND) == 0
    assert math.isnan(lesion_contrast(flat, LESION, np.zeros((20, 20), bool)))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 1.2])
def test_recovery_is_the_share_of_the_lesion_in_the_image(share: float) -> None:
    healthy = np.full((20, 20), 5.0)
    truth = healthy + 20 * LESION
    assert lesion_recovery(healthy + share * 20 * LESION, truth, healthy, LESION) == pytest.approx(share)
    assert math.isnan(lesion_recovery(truth, healthy, healthy, LESION))
