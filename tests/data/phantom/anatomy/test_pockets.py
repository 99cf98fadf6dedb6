"""Test the air that is not airway: it must be dark and unlabelled."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import pockets
from lib.data.phantom.anatomy.canvas import IGNORE, Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams

SEEDS = tuple(range(6))


def tissue_canvas():
    canvas = Canvas.blank(make_grid((-90, -50, -70), (90, 110, 40), 2.0))
    canvas.hu[...] = 40
    return canvas


@pytest.mark.parametrize("seed", SEEDS)
def test_ear_canals_and_mastoids_are_unlabelled_air(seed):
    canvas = tissue_canvas()
    pockets.paint_ear_canals(canvas, Streams(seed))
    pockets.paint_mastoids(canvas, Streams(seed))
    x = np.broadcast_to(canvas.grid.x, canvas.hu.shape)
    dark = canvas.hu < -600
    assert dark.any()
    assert (np.abs(x[dark]) > 25).all(), "the air lies at the ears and not in the middle"
    assert not canvas.part.any()


def test_air_in_the_mouth_is_ignored_and_occurs_in_some_cases():
    open_mouths = 0
    for seed in range(12):
        canvas = tissue_canvas()
        pockets.paint_mouth(canvas, Streams(seed))
        assert set(np.unique(canvas.part)) <= {0, IGNORE}
        open_mouths += bool((canvas.part == IGNORE).any())
    assert 0 < open_mouths < 12


def test_bubbles_do_not_touch_the_airway():
    for seed in SEEDS:
        canvas = tissue_canvas()
        canvas.air[40:50] = 1
        before = canvas.air[40:50].copy()
        pockets.paint_bubbles(canvas, np.full(canvas.air.shape, -50, np.float32), Streams(seed))
        assert (canvas.air[40:50] == before).all() and not canvas.part.any()
        assert (canvas.hu[[39, 50]] == 40).all(), "tissue remains between bubble and airway"
