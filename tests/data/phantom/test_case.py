"""Test whole cases at coarse resolution."""

import numpy as np
import pytest

from lib.data.phantom.anatomy.canvas import IGNORE, PARTS
from lib.data.phantom.case import PhantomCase, make_case

COARSE = {"pixel_mm": 2.0, "slice_mm": 3.0, "grid_mm": 1.6}
UPPER, LOWER = {"nasal_cavity", "sinuses", "pharynx"}, {"pharynx", "larynx", "trachea"}


@pytest.fixture(scope="module", params=[("skull", UPPER), ("head_neck", UPPER | LOWER), ("neck_chest", LOWER)])
def case_and_parts(request) -> tuple[PhantomCase, set[str]]:
    fov, parts = request.param
    return make_case(5, fov=fov, **COARSE), parts


def test_parts_follow_the_field_of_view(case_and_parts):
    case, expected = case_and_parts
    assert expected <= set(case.topology["branches"])
    assert set(np.unique(case.label)) <= {0, *PARTS.values(), IGNORE}


def test_the_label_is_dark_and_on_the_grid_of_the_image(case_and_parts):
    case, _ = case_and_parts
    inside = (case.label > 0) & (case.label != IGNORE)
    shift = case.topology["shift_hu"]
    assert (case.image[inside] - shift < -300).mean() > 0.9
    assert case.image.dtype == np.int16
    assert case.label.dtype == np.uint8
    assert case.image.shape == case.label.shape


def test_unlabelled_air_exists_beside_the_airway(case_and_parts):
    case, _ = case_and_parts
    dark = (case.image < -600) & (case.label == 0)
    assert dark.mean() > 0.1


def test_centreline_lies_mostly_in_the_airway(case_and_parts):
    case, _ = case_and_parts
    points = np.vstack([case.centreline[name] for name in ("pharynx", "trachea") if name in case.centreline])
    index = np.clip(np.rint(points).astype(int), 0, np.array(case.label.shape) - 1)
    assert (case.label[tuple(index.T)] > 0).mean() > 0.6


def test_trachea_is_one_component():
    case = make_case(5, fov="neck_chest", **COARSE)
    parts = case.topology["parts"]
    assert isinstance(parts, dict)
    assert parts["trachea"]["components"] == 1


def test_the_seed_determines_the_case():
    first, again, other = (make_case(s, fov="face", **COARSE) for s in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label, again.label)
    assert first.topology == again.topology
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_the_axes_run_to_the_right_the_front_and_the_head():
    case = make_case(5, fov="skull", **COARSE)
    assert (np.diag(case.affine)[:3] > 0).all()
    nasal, pharynx = (np.argwhere(case.label == PARTS[name]).mean(0) for name in ("nasal_cavity", "pharynx"))
    assert nasal[1] > pharynx[1] + 10
    right, left = (np.array(case.centreline[f"nasal_{s}"]).mean(0)[0] for s in ("right", "left"))
    assert right > left
