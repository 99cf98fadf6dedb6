"""Topology of shapes whose components, tunnels, cavities and branches are counted by hand."""

import math
from itertools import product

import numpy as np
import pytest

from lib.evaluation.metrics.topology import (
    betti_errors,
    betti_numbers,
    branches,
    branches_detected,
    cl_dice,
    largest_component,
    tree_length_detected,
)
from lib.ops.skeleton import skeleton
from tests.ops.tubes import SHAPES


def _empty() -> np.ndarray:
    return np.zeros((15, 15, 15), bool)


def _cube() -> np.ndarray:
    mask = _empty()
    mask[3:10, 3:10, 3:10] = True
    return mask


def _hollow() -> np.ndarray:
    mask = _cube()
    mask[5:8, 5:8, 5:8] = False
    return mask


def _ring() -> np.ndarray:
    mask = _cube()
    mask[5:8, 5:8, :] = False
    return mask


def _two_tunnels() -> np.ndarray:
    mask = _cube()
    mask[4, 4, :] = mask[8, 8, :] = False
    return mask


def _corner_pair() -> np.ndarray:
    mask = _empty()
    mask[3, 3, 3] = mask[4, 4, 4] = True
    return mask


def _edge_ring() -> np.ndarray:
    """Return four voxels around an empty one in a slice; they touch over edges only: one component, one tunnel."""
    mask = _empty()
    mask[3, 4, 4] = mask[5, 4, 4] = mask[4, 3, 4] = mask[4, 5, 4] = True
    return mask


def _apart() -> np.ndarray:
    mask = _empty()
    mask[1, 1, 1] = mask[5, 5, 5] = mask[9, 9, 9] = True
    return mask


def _full() -> np.ndarray:
    return np.ones((5, 5, 5), bool)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (_empty(), (0, 0, 0)),
        (_cube(), (1, 0, 0)),
        (_hollow(), (1, 0, 1)),
        (_ring(), (1, 1, 0)),
        (_two_tunnels(), (1, 2, 0)),
        (_corner_pair(), (1, 0, 0)),
        (_edge_ring(), (1, 1, 0)),
        (_apart(), (3, 0, 0)),
        (_full(), (1, 0, 0)),
        (_ring()[:, :, 5], (1, 1, 0)),
        (_apart()[:, :, 5], (1, 0, 0)),
    ],
    ids=str,
)
def test_betti_numbers(mask: np.ndarray, expected: tuple[int, int, int]) -> None:
    assert betti_numbers(mask) == expected


def test_betti_numbers_of_noise_keep_the_euler_characteristic_of_closed_cubes() -> None:
    """The Euler characteristic from corners, edges, faces and cubes is an independent check."""
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.5, 0.8):
        mask = rng.random((7, 8, 6)) < share
        b0, b1, b2 = betti_numbers(mask)
        assert b0 - b1 + b2 == _euler_by_cells(mask)
        assert min(b0, b1, b2) >= 0


def _euler_by_cells(mask: np.ndarray) -> int:
    total = 0
    for spread in product((False, True), repeat=3):
        cells = np.pad(mask, 1)
        for axis in np.flatnonzero(spread):
            size = cells.shape[axis]
            cells = cells.take(range(size - 1), axis) | cells.take(range(1, size), axis)
        total += (-1) ** (3 - sum(spread)) * int(cells.sum())
    return total


def test_betti_errors() -> None:
    assert betti_errors(_two_tunnels(), _hollow()) == (0, 2, 1)
    assert betti_errors(_apart(), _empty()) == (3, 0, 0)


def test_largest_component() -> None:
    mask = _corner_pair()
    mask[10:13, 10, 10] = True
    assert np.argwhere(largest_component(mask)).tolist() == [[10, 10, 10], [11, 10, 10], [12, 10, 10]]
    assert not largest_component(_empty()).any()
    mask[5, 5, 5] = mask[6, 6, 6] = True
    assert largest_component(mask, 26).sum() == 4
    assert largest_component(mask, 6).sum() == 3


def _tube(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((40, 9, 9), bool)
    mask[start:stop, 3:6, 3:6] = True
    return mask


def test_cl_dice_ignores_the_width() -> None:
    thin, thick = np.zeros((40, 9, 9), bool), _tube(2, 38)
    thin[4:36, 4, 4] = True
    assert cl_dice(thin, thick) > 0.9


def test_cl_dice_by_hand() -> None:
    """A line is its own skeleton: 6 of 10 predicted voxels are correct, 6 of 20 are found."""
    prediction, reference = np.zeros((40, 9, 9), bool), np.zeros((40, 9, 9), bool)
    prediction[20:30, 4, 4] = reference[6:26, 4, 4] = True
    assert cl_dice(prediction, reference) == pytest.approx(2 * 0.6 * 0.3 / 0.9)


@pytest.mark.parametrize("name", SHAPES)
def test_cl_dice_of_a_perfect_mask_is_1_and_of_a_missed_or_invented_one_0(name: str) -> None:
    mask = SHAPES[name]
    assert cl_dice(mask, mask) == 1.0
    assert cl_dice(np.zeros_like(mask), mask) == cl_dice(mask, np.zeros_like(mask)) == 0.0


def test_an_even_tube_has_a_tree_length_and_a_branch() -> None:
    mask = SHAPES["tube 6 x 6 along 0"]
    assert tree_length_detected(mask, mask) == branches_detected(mask, mask) == 1.0


def test_cl_dice_of_empty_masks() -> None:
    assert math.isnan(cl_dice(_empty(), _empty()))
    assert cl_dice(_cube(), _empty()) == cl_dice(_empty(), _cube()) == 0.0
    assert cl_dice(_corner_pair(), _apart()) < 1.0


def _tee() -> np.ndarray:
    """Return three arms that meet in (12, 12): 10 voxels below, 10 above, 12 to the side."""
    mask = np.zeros((25, 25, 3), bool)
    mask[2:23, 12, 1] = mask[12, 12:25, 1] = True
    return mask


def test_branches_of_a_tee() -> None:
    """The crossing and its three neighbours are junctions, because they are neighbours: each arm loses one voxel."""
    numbered = branches(_tee())
    assert sorted(np.bincount(numbered.ravel())[1:]) == [9, 9, 11]
    assert numbered[12, 12, 1] == 0


def test_short_spurs_are_not_branches() -> None:
    mask = _tee()
    mask[12, 17:, 1] = False  # 4 voxels of the arm stay, 3 of them outside the junction
    assert np.bincount(branches(mask).ravel())[1:].tolist() == [9, 9]


def test_a_line_is_one_branch() -> None:
    line = np.zeros((40, 9, 9), bool)
    line[5:30, 4, 4] = True
    assert np.array_equal(skeleton(line), line)
    assert branches(line).max() == 1


@pytest.mark.parametrize(
    ("kept_of_side", "expected_td", "expected_bd"),
    [
        (12, 1.0, 1.0),
        (10, 30 / 32, 1.0),  # 9 of the arm's 11 voxels beyond the junction: 82 %
        (9, 29 / 32, 2 / 3),  # 8 of 11: 73 %
        (0, 20 / 32, 2 / 3),
    ],
)
def test_tree_scores_of_a_shortened_arm(kept_of_side: int, expected_td: float, expected_bd: float) -> None:
    """The skeleton has 32 of the 33 voxels of the tee: the arms touch over corners without the crossing."""
    prediction = _tee()
    prediction[12, 13 + kept_of_side :, 1] = False
    assert tree_length_detected(prediction, _tee()) == pytest.approx(expected_td)
    assert branches_detected(prediction, _tee()) == pytest.approx(expected_bd)


def test_only_the_largest_component_counts() -> None:
    prediction = _tee()
    prediction[12, 14, 1] = False  # cuts the side arm off behind its first voxel
    assert tree_length_detected(prediction, _tee()) == pytest.approx(21 / 32)
    assert branches_detected(prediction, _tee()) == pytest.approx(2 / 3)


def test_tree_scores_of_empty_masks() -> None:
    empty = np.zeros_like(_tee())
    assert math.isnan(tree_length_detected(_tee(), empty)) and math.isnan(branches_detected(_tee(), empty))
    assert tree_length_detected(empty, _tee()) == branches_detected(empty, _tee()) == 0.0
