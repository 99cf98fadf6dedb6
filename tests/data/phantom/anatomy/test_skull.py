"""Test the skull: bone around brain, orbits, and jaws that may carry metal."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import skull
from lib.data.phantom.anatomy.body import cranium
from lib.data.phantom.anatomy.canvas import Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams


def tissue_canvas():
    canvas = Canvas.blank(make_grid((-90, -100, -80), (90, 120, 130), 3.0))
    canvas.hu[...] = 50
    return canvas


@pytest.mark.parametrize("seed", (0, 1))
def test_the_vault_is_bone_around_the_brain(seed):
    canvas = tissue_canvas()
    skull.paint_braincase(canvas, Streams(seed))
    distance = np.broadcast_to(cranium(canvas.grid), canvas.hu.shape)
    high = np.broadcast_to(canvas.grid.z > 60, canvas.hu.shape)
    assert (canvas.hu[high & (np.abs(distance + 3) < 1)] > 150).mean() > 0.6
    assert 0 < np.median(canvas.hu[high & (distance < -20)]) < 80


def test_the_skull_base_is_lower_at_the_back():
    x, y = np.zeros((1, 1, 1), np.float32), np.array([-60, 60], np.float32)[None, :, None]
    back, front = skull.base_height(x, y).ravel()
    assert back < front


def test_the_face_has_fat_in_the_orbits_and_bone():
    canvas = tissue_canvas()
    skull.paint_face(canvas, Streams(0))
    assert (canvas.hu < -60).sum() > 100 and (canvas.hu > 400).sum() > 100
    assert not canvas.part.any()


def test_metal_fillings_lie_in_the_jaws():
    fillings = [point for seed in range(8) for point in skull.paint_jaws(tissue_canvas(), Streams(seed))]
    assert fillings, "some cases have metal fillings"
    assert all(abs(x) < 45 and 20 < y < 115 and -80 < z < 0 for x, y, z in fillings)
