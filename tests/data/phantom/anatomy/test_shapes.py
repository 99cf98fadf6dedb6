"""Test signed distances against values computed by hand."""

import numpy as np
import pytest

from lib.data.phantom.anatomy.canvas import make_grid
from lib.data.phantom.anatomy.shapes import (
    box,
    capsule,
    cell_walls,
    chain,
    ellipsoid,
    smooth_max,
    smooth_min,
    smooth_noise,
    swept_tube,
)

GRID = make_grid((-20, -20, -20), (20, 20, 20), 1.0)
CENTRE = (20, 20, 20)


@pytest.mark.parametrize(
    ("sdf", "at_ten_right"),
    [
        (ellipsoid(GRID, (0, 0, 0), (6, 6, 6)), 4.0),
        (ellipsoid(GRID, (0, 0, 0), (10, 6, 4)), 0.0),
        (capsule(GRID, (0, 0, -9), (0, 0, 9), 4), 6.0),
        (chain(GRID, [(0, 0, -9), (0, 0, 0), (0, 0, 9)], [3, 3, 3]), 7.0),
        (box(GRID, (0, 0, 0), (5, 6, 7)), 5.0),
        (swept_tube(GRID, [-15, 15], centre_y=[0, 0], half_x=[5, 5], half_y=[5, 5]), 5.0),
    ],
)
def test_distance_to_a_shape(sdf, at_ten_right):
    assert sdf[CENTRE] < 0
    assert sdf[30, 20, 20] == pytest.approx(at_ten_right, abs=0.05)


def test_a_swept_tube_ends_at_its_first_and_last_node():
    sdf = swept_tube(GRID, [5, -5], centre_y=[0, 0], half_x=[4, 4], half_y=[4, 4])
    assert sdf[20, 20, 30] == pytest.approx(5)


def test_smooth_union_and_intersection_bound_the_sharp_ones():
    a, b = ellipsoid(GRID, (-3, 0, 0), (6, 6, 6)), ellipsoid(GRID, (3, 0, 0), (6, 6, 6))
    assert (smooth_min(a, b, 4) <= np.minimum(a, b) + 1e-4).all()
    assert (smooth_max(a, b, 4) >= np.maximum(a, b) - 1e-4).all()


def test_smooth_noise_has_its_amplitude_and_follows_the_seed():
    fields = [smooth_noise(GRID, np.random.default_rng(3), amplitude=2, wavelength_mm=9, terms=8) for _ in range(2)]
    assert np.array_equal(fields[0], fields[1])
    assert fields[0].std() == pytest.approx(2, rel=0.35)


def test_cell_walls_lie_midway_between_seeds():
    gap, index = cell_walls(GRID, np.array([[-5, 0, 0], [5, 0, 0]], np.float32))
    assert gap[20, 20, 20] == pytest.approx(0)
    assert gap[25, 20, 20] == pytest.approx(5)
    assert set(np.unique(index)) == {0, 1}
