"""Test the objects around the patient."""

import numpy as np
import pytest

from lib.data.phantom import clutter
from lib.data.phantom.anatomy.canvas import make_grid
from lib.data.phantom.anatomy.shapes import ellipsoid
from lib.data.phantom.anatomy.streams import Streams

GRID = make_grid((-120, -110, -60), (120, 120, 100), 4.0)
SKIN = ellipsoid(GRID, (0, 0, 20), (70, 85, 90))


@pytest.mark.parametrize("name", clutter.LAYERS)
def test_layer_is_a_density_on_the_grid(name):
    layer, _ = clutter.LAYERS[name]
    drawn = [layer(GRID, SKIN, np.random.default_rng(seed)) for seed in range(6)]
    assert all(density.shape == GRID.shape for density in drawn)
    assert all(np.isfinite(density).all() for density in drawn)
    assert max(density.max() for density in drawn) > 20


def test_the_body_is_not_changed():
    for seed in range(4):
        hu = np.where(SKIN < 0, 40, -1000).astype(np.float32)
        clutter.add_clutter(hu, SKIN, GRID, Streams(seed))
        assert (hu[-GRID.step_mm > SKIN] == 40).all()
        assert hu.min() >= -1000.5


def test_the_seed_determines_the_objects():
    volumes = [np.full(GRID.shape, -1000, np.float32) for _ in range(2)]
    names = [clutter.add_clutter(volume, SKIN, GRID, Streams(9)) for volume in volumes]
    assert names[0] == names[1]
    assert np.array_equal(volumes[0], volumes[1])
