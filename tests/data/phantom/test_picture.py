"""Test the picture of a cohort."""

import numpy as np
from PIL import Image

from lib.data.phantom.anatomy.canvas import TRACHEA
from lib.data.phantom.case import PhantomCase
from lib.data.phantom.picture import draw_cohort


def test_labelled_parts_are_drawn_in_colour(tmp_path):
    label = np.zeros((20, 24, 16), np.uint8)
    label[8:12, 8:12, 4:12] = TRACHEA
    case = PhantomCase(np.full(label.shape, 40, np.int16), label, np.diag([1, 1, 2, 1.0]), {}, {})
    draw_cohort([case, case], tmp_path / "cohort.png")
    pixels = np.asarray(Image.open(tmp_path / "cohort.png")).astype(int)
    assert pixels.shape == (512, 1024, 3)
    assert (pixels.max(-1) - pixels.min(-1)).max() > 40
