"""Test sampling of the canonical volume and merging of label islands."""

import numpy as np
import pytest

from lib.data.phantom.anatomy.canvas import LARYNX, PHARYNX, TRACHEA, Canvas, make_grid
from lib.data.phantom.anatomy.shapes import ellipsoid
from lib.data.phantom.pose import Pose
from lib.data.phantom.scan import OCCUPANCY_THRESHOLD, Sampler, merge_islands
from lib.data.phantom.view import View

STILL = Pose(np.eye(3), np.ones(3), 0.0, np.zeros((3, 17, 17, 17)))


@pytest.mark.parametrize("slice_mm", [1.0, 3.0])
def test_a_ball_keeps_place_volume_and_density(slice_mm):
    canvas = Canvas.blank(make_grid((-20, -20, -20), (20, 20, 20), 1.0))
    canvas.hu[...] = 0
    region = canvas.region((-20, -20, -20), (20, 20, 20))
    region.paint_airway(ellipsoid(region.grid, (4, -3, 2), (8, 8, 8)), TRACHEA)
    view = View("head", (-15, -15, -15), (1.0, 1.0, slice_mm), (31, 31, int(30 / slice_mm) + 1), slice_mm)
    sampled = Sampler(canvas, STILL, view).read(canvas, np.full(canvas.grid.shape, -9, np.float32))
    inside = sampled.label == TRACHEA
    volume = inside.sum() * slice_mm
    assert volume == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.12)
    centre = np.argwhere(inside).mean(0) * view.spacing_mm + view.origin_mm
    assert np.allclose(centre, (4, -3, 2), atol=0.4)
    assert np.array_equal(inside, sampled.air >= OCCUPANCY_THRESHOLD)
    assert sampled.hu[inside].max() <= -1000 * OCCUPANCY_THRESHOLD + 1


def test_islands_inside_a_part_are_merged_and_free_islands_are_kept():
    label = np.zeros((20, 20, 20), np.uint8)
    label[2:10, 2:18, 2:18] = PHARYNX
    label[10:18, 2:18, 2:18] = LARYNX
    label[5, 5, 5] = LARYNX
    label[19, 19, 19] = TRACHEA
    label[0, 0, 0] = PHARYNX
    out = merge_islands(label.copy())
    assert out[5, 5, 5] == PHARYNX
    assert out[0, 0, 0] == PHARYNX
    assert (out > 0).sum() == (label > 0).sum()
