"""Test the outer surface and the half-resolution fields."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import body
from lib.data.phantom.anatomy.canvas import Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams


@pytest.mark.parametrize("seed", (0, 1, 2))
def test_the_skin_encloses_the_brain_and_not_the_corners(seed):
    canvas = Canvas.blank(make_grid((-120, -130, -60), (120, 150, 140), 4.0))
    skin = body.skin_distance(canvas, Streams(seed))
    assert skin.shape == canvas.grid.shape
    brain = np.broadcast_to(body.cranium(canvas.grid) < 0, skin.shape)
    assert (skin[brain] < 0).all()
    assert skin[0, 0, -1] > 0 and skin[-1, -1, -1] > 0


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 4, 4)])
def test_a_linear_field_is_unchanged_by_half_resolution(shape):
    grid = make_grid((0, 0, 0), tuple(float(n - 1) for n in shape), 1.0)
    half = body.half_grid(grid)
    field = (2 * half.x - half.y + 3 * half.z).astype(np.float32)
    full = body.upsample(field, grid.shape)
    np.testing.assert_allclose(full, 2 * grid.x - grid.y + 3 * grid.z, atol=1e-4)


def test_density_and_airway_outside_the_skin_are_removed():
    grid = make_grid((-10, -10, -10), (10, 10, 10), 1.0)
    canvas, skin = Canvas.blank(grid), grid.y - 4 + np.zeros(grid.shape, np.float32)
    canvas.hu[...], canvas.air[8:12] = 300, 1
    body.clip_to_skin(canvas, skin)
    outside = skin > 1
    assert (canvas.hu[outside] == -1000).all() and (canvas.air[outside] == 0).all()
    assert (canvas.hu[skin < -2] == 300).all() and (canvas.air[8:12][skin[8:12] < -2] == 1).all()
