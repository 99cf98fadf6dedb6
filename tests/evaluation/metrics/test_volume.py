"""Volumes in ml, and the two kinds of false positives."""

import math

import numpy as np
import pytest

from lib.evaluation.metrics.volume import outside_ml, unconnected_ml, volume_ml

SPACING = (2.0, 5.0, 10.0)  # a voxel is 0.1 ml


def _mask(*voxels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((9, 9, 9), bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def test_volume_counts_voxels() -> None:
    assert volume_ml(_mask((0, 0, 0), (1, 1, 1), (8, 8, 8)), SPACING) == pytest.approx(0.3)


def test_a_2d_mask_has_no_volume() -> None:
    assert math.isnan(volume_ml(np.ones((3, 3), bool), (1.0, 1.0)))


def test_volume_outside_the_hull() -> None:
    hull = np.zeros((9, 9, 9), bool)
    hull[2:7, 2:7, 2:7] = True
    assert outside_ml(_mask((4, 4, 4), (0, 4, 4), (4, 8, 4)), hull, SPACING) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ([(4, 4, 4)], 0.0),  # shares a voxel
        ([(5, 5, 5)], 0.0),  # a neighbour over a corner
        ([(6, 4, 4)], 0.1),  # one voxel between
        ([(6, 4, 4), (5, 4, 4)], 0.0),  # connected through a neighbour
        ([(4, 4, 4), (0, 0, 0), (0, 0, 1), (8, 8, 8)], 0.3),
        ([], 0.0),
    ],
)
def test_volume_of_unconnected_components(prediction: list[tuple[int, int, int]], expected: float) -> None:
    assert unconnected_ml(_mask(*prediction), _mask((4, 4, 4)), SPACING) == pytest.approx(expected)


def test_all_components_are_unconnected_without_a_reference() -> None:
    assert unconnected_ml(_mask((1, 1, 1), (7, 7, 7)), _mask(), SPACING) == pytest.approx(0.2)
