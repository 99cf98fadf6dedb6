"""Test the sinuses."""

import numpy as np
import pytest

from lib.data.phantom.anatomy import sinuses
from lib.data.phantom.anatomy.canvas import IGNORE, SINUSES, Canvas, make_grid
from lib.data.phantom.anatomy.streams import Streams


@pytest.mark.parametrize("seed", [0, 1])
def test_sinus_air_is_labelled_or_ignored(seed):
    canvas = Canvas.blank(make_grid((-50, 5, -32), (50, 110, 85), 1.5))
    canvas.hu[...] = 40
    state = sinuses.paint_sinuses(canvas, Streams(seed))
    assert set(np.unique(canvas.part[canvas.air > 0.3])) <= {SINUSES, IGNORE}
    assert (canvas.air > 0.5).sum() * 1.5**3 / 1000 > 4
    assert set(state) == {
        f"{n}_{s}" for n in ("maxillary", "frontal", "sphenoid", "ethmoid") for s in ("left", "right")
    }


def test_only_closed_sinuses_can_be_ignored():
    fillings = [sinuses.draw_filling(np.random.default_rng(i)) for i in range(400)]
    closed = [f for f in fillings if not f.drained]
    assert {f.part for f in closed} == {SINUSES, IGNORE}
    assert {f.part for f in fillings if f.drained} == {SINUSES}
    assert {sinuses.describe_filling(f) for f in fillings} == {"open", "closed", "full", "open with fluid"}
