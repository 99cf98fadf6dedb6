"""Test the nasal passages."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import nose
from lib.data.phantom.anatomy.canvas import NASAL_CAVITY, PHARYNX, Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams

SEEDS = (0, 1, 2)


def carved_nose(seed: int) -> Canvas:
    canvas = Canvas.blank(make_grid((-26, 40, -26), (26, 122, 42), 1.0))
    canvas.hu[...] = 40
    nose.paint_lining(canvas, Streams(seed))
    nose.carve(canvas, Streams(seed))
    return canvas


@pytest.mark.parametrize("seed", SEEDS)
def test_the_septum_separates_the_air_of_both_sides(seed):
    canvas = carved_nose(seed)
    air = (canvas.air > 0.5) & (canvas.part == NASAL_CAVITY)
    left, right = (canvas.grid.x < 0) & air, (canvas.grid.x > 0) & air
    assert min(left.sum(), right.sum()) > 800
    plane = nose.draw_passages(Streams(seed))[1].outwards(canvas.grid)
    assert not (air & (np.abs(plane) < 0.3) & (canvas.grid.y < 96)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_turbinates_leave_tissue_in_the_cavity(seed):
    canvas = carved_nose(seed)
    inside = (np.abs(canvas.grid.x) < 12) & (np.abs(canvas.grid.y - 75) < 8) & (np.abs(canvas.grid.z) < 8)
    share = canvas.air[np.broadcast_to(inside, canvas.air.shape)].mean()
    assert 0.05 < share < 0.75


def test_air_behind_the_choana_is_pharynx():
    canvas = carved_nose(0)
    behind = (canvas.air > 0.5) & (canvas.grid.y < nose.CHOANA_Y)
    assert behind.any()
    assert set(np.unique(canvas.part[behind])) == {PHARYNX}
