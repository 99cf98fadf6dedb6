"""Test pharynx, larynx and trachea."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from lib.data.phantom.anatomy import throat
from lib.data.phantom.anatomy.canvas import IGNORE, LARYNX, PHARYNX, TRACHEA, Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    painted = Canvas.blank(make_grid((-30, -20, -285), (34, 66, 18), 1.5))
    painted.hu[...] = 40
    throat.paint_cartilages(painted, Streams(4))
    throat.paint_tracheal_wall(painted, Streams(4))
    throat.carve(painted, Streams(4))
    return painted


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [(PHARYNX, -118, 16), (LARYNX, throat.CRICOID_Z - 2, -66), (TRACHEA, throat.CARINA_Z - 2, throat.CRICOID_Z + 2)],
)
def test_each_part_lies_between_its_levels(canvas, part, low, high):
    z = canvas.grid.z.ravel()[np.nonzero(((canvas.air > 0.5) & (canvas.part == part)).any((0, 1)))[0]]
    assert z.size > 10
    assert low <= z.min() < z.max() <= high


def test_the_trachea_is_one_tube(canvas):
    tube = (canvas.air > 0.5) & (canvas.part == TRACHEA)
    pieces = np.zeros(tube.shape, np.int32)
    ndimage.label(tube, output=pieces)
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() > 0.99 * sizes.sum()


def test_bronchi_are_ignored(canvas):
    below = (canvas.air > 0.5) & (canvas.grid.z < throat.CARINA_Z - 3)
    assert set(np.unique(canvas.part[below])) == {IGNORE}


def test_the_axis_runs_inside_the_trachea(canvas):
    z = np.arange(-240, -140, 10, dtype=np.float32)
    x, y = throat.trachea_axis(throat.draw_throat(Streams(4)), z)
    grid = canvas.grid
    index = [
        np.rint((v - axis.ravel()[0]) / grid.step_mm).astype(int)
        for v, axis in zip((x, y, z), (grid.x, grid.y, grid.z), strict=True)
    ]
    assert (canvas.air[tuple(index)] > 0.5).all()


def test_the_narrowest_trachea_is_open(monkeypatch):
    narrow = {"trachea_mm": 7.0, "stenosis": 0.25, "stenosis_z": -150.0, "stenosis_mm": 12.0, "scar": 7.0}
    drawn = dataclasses.replace(throat.draw_throat(Streams(4)), **narrow)
    monkeypatch.setattr(throat, "draw_throat", lambda streams: drawn)
    painted = Canvas.blank(make_grid((-24, -10, -240), (24, 60, -110), 1.0))
    throat.carve(painted, Streams(4))
    air = (painted.air > 0.5) & (painted.part == TRACHEA)
    assert ndimage.label(air, np.ones((3, 3, 3)))[1] == 1
    areas = air.any((0, 1)), air.sum((0, 1))
    assert areas[1][areas[0]].min() < 30
