"""The threshold rules find the known parts of a small head with a lumen, a pocket and an opening."""

import numpy as np
import pytest

from lib.evaluation.baselines.threshold import body, fill_rule, hull, reference_airway
from lib.evaluation.metrics.topology import largest_component

SPACING = (0.957, 0.957, 1.5)
AIR, TISSUE = -1000, 40


def _head() -> np.ndarray:
    """Return a block of 40 x 40 with a lumen of 8 x 8, a separate pocket of 3 x 3, and tissue-like clutter outside.

    The morphological opening rounds thin walls in the two lowest and highest slices, so some checks skip those.
    """
    hu = np.full((60, 60, 12), AIR, np.int16)
    hu[10:50, 10:50] = TISSUE
    hu[26:34, 26:34] = AIR
    hu[15:18, 15:18] = AIR
    hu[1:7, 1:7, 2:9] = TISSUE
    return hu


def _lumen() -> np.ndarray:
    mask = np.zeros((60, 60, 12), bool)
    mask[26:34, 26:34] = True
    return mask


def _opened() -> np.ndarray:
    """Return a head whose lumen is open to the outside, by a channel of 4 voxels in the lower slices."""
    hu = _head()
    hu[28:32, 34:, :6] = AIR
    return hu


def test_the_body_is_the_head_with_holes_and_without_clutter() -> None:
    found = body(_head(), SPACING)
    assert found[12, 30, 5] and not found[3, 3, 5] and not found[30, 30, 5]


def test_the_hull_is_filled_and_one_voxel_within_the_skin() -> None:
    inside = hull(_head(), SPACING)
    assert inside[30, 30].all() and inside[16, 16, 2:-2].all()
    assert inside[11, 30, 2:-2].all() and not inside[10, 30].any()
    assert not inside[:10].any() and not inside[50:].any()


def test_the_reference_airway_is_only_the_lumen() -> None:
    assert np.array_equal(reference_airway(_head(), SPACING), _lumen())


def test_a_pocket_connected_over_an_edge_is_not_reference_airway() -> None:
    hu = _head()
    hu[23:26, 23:26] = AIR
    assert np.array_equal(reference_airway(hu, SPACING), _lumen())


def test_the_reference_airway_includes_a_lumen_with_an_opening() -> None:
    """The closing spans the channel, so the lumen stays inside the hull in every slice."""
    found = reference_airway(_opened(), SPACING)
    assert found[_lumen()].all()
    assert not found[:, 50:].any()


def test_the_fill_rule_includes_pockets() -> None:
    found = fill_rule(_head(), SPACING)
    assert found[16, 16, 2:-2].all() and found[_lumen()].all()
    assert np.array_equal(largest_component(found, 6), _lumen())


def test_the_fill_rule_misses_the_slices_with_an_opening() -> None:
    found = fill_rule(_opened(), SPACING)
    assert not found[30, 30, :5].any()
    assert found[30, 30, 7:].all()


def test_iterations_follow_the_spacing() -> None:
    """On pixels four times as large the closing reaches 2 voxels and does not close a notch of 10."""
    hu = _head()
    hu[25:35, 30:, :] = AIR
    assert hull(hu, SPACING)[30, 40, 2:-2].all()
    assert not hull(hu, (3.83, 3.83, 1.5))[30, 40].any()


def test_a_volume_of_air_has_neither_body_nor_airway() -> None:
    hu = np.full((20, 20, 6), AIR, np.int16)
    assert not body(hu, SPACING).any() and not reference_airway(hu, SPACING).any()


def test_a_2d_slice_is_refused() -> None:
    with pytest.raises(ValueError, match="3-D volume"):
        body(np.zeros((5, 5), np.int16), (1.0, 1.0))
