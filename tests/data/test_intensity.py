"""Stored intensities of any kind become what a network expects."""

import numpy as np
import pytest
import torch

from lib.data.findings import InputRejected
from lib.data.intensity import PERCENTILE, UNIT, WINDOW, ZSCORE, Scale, apply_scales, fit_scale

RNG = np.random.default_rng(0)


def test_window_maps_its_ends_to_zero_and_one() -> None:
    intensities = torch.tensor([-3024.0, -1000.0, -300.0, 400.0, 2000.0])
    scale = fit_scale(np.zeros(4, np.int16), WINDOW, (-1000, 400))
    torch.testing.assert_close(scale(intensities), torch.tensor([0, 0, 0.5, 1, 1]))
    assert intensities[0] == -3024, "the input is not changed"


def test_a_window_may_be_descending() -> None:
    scale = fit_scale(np.zeros(4, np.int16), WINDOW, (400, -1000))
    assert scale(torch.tensor([500.0, 400, -300, -1000, -2000])).tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.004, 0.0), (37.5, -800.0)])
def test_statistics_do_not_depend_on_the_units_of_a_scanner(gain: float, offset: float) -> None:
    voxels = RNG.normal(100, 20, (30, 30, 30)).astype(np.float32)
    for intensity in (PERCENTILE, ZSCORE):
        plain = fit_scale(voxels, intensity)(torch.from_numpy(voxels))
        other = gain * voxels + np.float32(offset)
        torch.testing.assert_close(fit_scale(other, intensity)(torch.from_numpy(other)), plain, atol=2e-3, rtol=0)


def test_zscore_has_mean_0_and_sd_1_and_is_not_clamped() -> None:
    voxels = RNG.normal(500, 70, (40, 40, 40)).astype(np.float32)
    image = fit_scale(voxels, ZSCORE)(torch.from_numpy(voxels))
    assert abs(float(image.mean())) < 1e-3 and abs(float(image.std()) - 1) < 1e-3 and float(image.max()) > 3


def test_percentiles_are_those_of_the_object_without_its_background() -> None:
    voxels = np.zeros((40, 40, 40), np.float32)
    voxels[10:20, 10:20, 10:20] = RNG.uniform(200, 300, (10, 10, 10))
    scale = fit_scale(voxels, PERCENTILE)
    assert scale.low == pytest.approx(200.5, abs=0.5) and scale.high == pytest.approx(299.5, abs=0.5)


def test_a_large_image_is_sampled() -> None:
    voxels = RNG.normal(0, 1, (300, 200, 100)).astype(np.float32)
    assert fit_scale(voxels, ZSCORE).high == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(
    ("voxels", "stored_bytes", "largest"),
    [
        (np.array([0, 200], np.uint8), None, 255),
        (np.array([0, 90], np.float32), 1, 255),
        (np.array([0, 900], np.float32), 2, 65535),
        (np.array([0, 0.5], np.float32), 4, 1),
    ],
)
def test_unit_follows_the_stored_type(voxels: np.ndarray, stored_bytes: int | None, largest: float) -> None:
    assert fit_scale(voxels, UNIT, stored_bytes=stored_bytes) == Scale(0.0, largest)


@pytest.mark.parametrize("voxels", [np.array([0, 900], np.float32), np.array([-0.5, 0.5], np.float32)])
def test_unit_refuses_floats_outside_its_range(voxels: np.ndarray) -> None:
    with pytest.raises(InputRejected, match="INTENSITY_RANGE"):
        fit_scale(voxels, UNIT)


@pytest.mark.parametrize("intensity", [PERCENTILE, ZSCORE])
def test_a_constant_image_does_not_divide_by_zero(intensity: str) -> None:
    voxels = np.full((5, 5), 7, np.float32)
    assert torch.isfinite(fit_scale(voxels, intensity)(torch.from_numpy(voxels))).all()


def test_each_channel_has_its_own_scale() -> None:
    image = apply_scales(torch.full((2, 3, 3), 10.0), (Scale(0, 10), Scale(0, 100)))
    assert (image[0] == 1).all() and torch.allclose(image[1], torch.tensor(0.1))
