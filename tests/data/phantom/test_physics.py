"""Test each degradation of the scanner."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data.phantom.physics import Scanner, acquire, draw_scanner, outside_circle

CLEAN = Scanner(0.0, 0.0, 0.001, 0.8, 0.0, 1.0, 0.0, 0.0, 0.0, -1024)
NO_METAL = np.zeros((0, 3))


def volume() -> np.ndarray:
    hu = np.full((40, 40, 8), -1000, np.float32)
    hu[8:32, 8:32] = 40
    return hu


def scan(scanner: Scanner, metal: np.ndarray = NO_METAL) -> np.ndarray:
    return acquire(volume(), scanner=scanner, metal_ijk=metal, pixel_mm=5.0, rng=np.random.default_rng(1))


@pytest.mark.parametrize("shift_hu", [-100.0, 120.0])
def test_shift_moves_every_value(shift_hu):
    difference = scan(replace(CLEAN, shift_hu=shift_hu)).astype(int) - scan(CLEAN)
    assert np.median(difference[10:30, 10:30]) == pytest.approx(shift_hu, abs=1)


def test_noise_grows_with_its_level():
    low, high = (scan(replace(CLEAN, noise_hu=n))[12:28, 12:28].std() for n in (5, 50))
    assert high > 5 * low


def test_the_corners_outside_the_circle_have_the_padding_value():
    image = scan(replace(CLEAN, circle=0.95, padding_hu=-3024))
    assert image[0, 0, 0] == -3024
    assert image[20, 20, 4] > -200
    np.testing.assert_array_equal(outside_circle(replace(CLEAN, circle=0.95), image.shape), image[..., 4] == -3024)
    assert not outside_circle(CLEAN, image.shape).any()


def test_metal_streaks_cross_the_slice_of_the_metal():
    image = scan(replace(CLEAN, streak=1.5), np.array([[20.0, 20.0, 3.0]]))
    assert image[10:30, 10:30, 3].std() > 4 * image[10:30, 10:30, 7].std()


def test_values_stay_in_range():
    for seed in range(10):
        image = scan(draw_scanner(np.random.default_rng(seed)))
        assert image.dtype == np.int16
        assert image.min() >= -3024
        assert image.max() <= 3071
