"""Dilation, erosion and closing agree with SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from lib.evaluation.faults.neighbours import close_gaps, dilate, erode

BLOCK = np.ones((3, 3, 3), bool)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_dilate_and_erode_agree_with_scipy(steps: int) -> None:
    mask = np.random.default_rng(steps).random((9, 8, 7)) < 0.05
    before = mask.copy()
    assert np.array_equal(dilate(mask, steps), ndimage.binary_dilation(mask, BLOCK, steps))
    thick = dilate(mask, 2)
    assert np.array_equal(erode(thick, steps), ndimage.binary_erosion(thick, BLOCK, steps, border_value=1))
    assert np.array_equal(mask, before)


def test_close_fills_gaps_of_two_voxels_and_no_wider_one() -> None:
    mask = np.zeros((7, 7, 16), bool)
    mask[3, 3, [3, 6, 10]] = True
    assert np.flatnonzero(close_gaps(mask)[3, 3]).tolist() == [3, 4, 5, 6, 10]
