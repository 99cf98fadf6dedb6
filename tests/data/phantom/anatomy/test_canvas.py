"""Test the canvas and its grids."""

import numpy as np
import pytest

from lib.data.phantom.anatomy.canvas import AIR_HU, TRACHEA, Canvas, make_grid
from lib.data.phantom.anatomy.shapes import ellipsoid


@pytest.fixture
def canvas() -> Canvas:
    return Canvas.blank(make_grid((-12, -12, -12), (12, 12, 12), 1.0))


def test_grid_covers_the_box_with_odd_counts():
    grid = make_grid((-3, 0, 5), (3.2, 4, 9), 1.0)
    assert all(n % 2 == 1 for n in grid.shape)
    assert grid.x.max() >= 3.2
    assert grid.y.max() >= 4


def test_region_paints_into_the_canvas(canvas):
    region = canvas.region((-8, -8, -8), (8, 8, 8))
    region.paint(ellipsoid(region.grid, (0, 0, 0), (5, 5, 5)), 40)
    assert canvas.hu[12, 12, 12] == pytest.approx(40)
    assert canvas.hu[0, 0, 0] == AIR_HU


def test_a_region_outside_the_canvas_is_empty(canvas):
    assert canvas.region((50, 50, 50), (60, 60, 60)).is_empty


def test_airway_occupancy_is_a_union(canvas):
    region = canvas.region((-12, -12, -12), (12, 12, 12))
    region.paint(np.full(canvas.grid.shape, -9, np.float32), 0)
    half = np.zeros(canvas.grid.shape, np.float32)
    for _ in range(2):
        region.paint_airway(half, TRACHEA)
    assert canvas.air.max() == pytest.approx(0.5)
    assert canvas.hu.min() == pytest.approx(-500, abs=1)


def test_tissue_painted_later_replaces_the_airway(canvas):
    region = canvas.region((-12, -12, -12), (12, 12, 12))
    inside = np.full(canvas.grid.shape, -9, np.float32)
    region.paint_airway(inside, TRACHEA)
    region.paint(inside, 30)
    assert canvas.air.max() == 0
