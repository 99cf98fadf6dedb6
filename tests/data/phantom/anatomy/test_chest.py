"""Test spine, neck and chest."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import chest
from lib.data.phantom.anatomy.canvas import Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams


def tissue_canvas(low, high, step=3.0):
    canvas = Canvas.blank(make_grid(low, high, step))
    canvas.hu[...] = 40
    return canvas


@pytest.mark.parametrize("seed", (0, 1))
def test_lungs_are_dark_on_both_sides_and_not_labelled(seed):
    canvas = tissue_canvas((-150, -120, -330), (150, 90, -160))
    chest.paint_upper_chest(canvas, Streams(seed))
    dark = canvas.hu < -600
    x = np.broadcast_to(canvas.grid.x, canvas.hu.shape)
    assert min((dark & (x < -20)).sum(), (dark & (x > 20)).sum()) > 1000
    assert not canvas.part.any()
    assert (canvas.hu > 200).any(), "ribs, clavicles and shoulders"


def test_vertebrae_follow_the_curve_of_the_spine():
    canvas = tissue_canvas((-30, -60, -150), (30, 40, -30), 2.0)
    chest.paint_spine(canvas, Streams(0))
    bone = canvas.hu > 150
    y = np.broadcast_to(canvas.grid.y, canvas.hu.shape)
    for index in (10, 30, 50):
        expected = float(chest.spine_y(canvas.grid.z[:, :, index : index + 1]).ravel()[0])
        assert abs(y[..., index][bone[..., index]].mean() - expected) < 30


def test_structures_outside_the_canvas_paint_nothing():
    canvas = tissue_canvas((-20, -20, 40), (20, 20, 60))
    chest.paint_upper_chest(canvas, Streams(0))
    chest.paint_neck(canvas, Streams(0))
    assert (canvas.hu == 40).all()
