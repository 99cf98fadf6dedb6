"""Test topology counts and centrelines."""

import numpy as np
import pytest

from lib.data.phantom import truth
from lib.data.phantom.anatomy.canvas import IGNORE, PHARYNX, SINUSES


def ring() -> np.ndarray:
    mask = np.zeros((9, 9, 5), bool)
    mask[1:8, 1:8, 2] = True
    mask[3:6, 3:6, 2] = False
    return mask


def shell() -> np.ndarray:
    mask = np.ones((5, 5, 5), bool)
    mask[2, 2, 2] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "components", "loops", "cavities"),
    [(ring(), 1, 1, 0), (shell(), 1, 0, 1), (np.eye(4, dtype=bool)[:, :, None], 1, 0, 0)],
)
def test_betti_numbers(mask, components, loops, cavities):
    assert truth.count_betti(mask) == {"components": components, "loops": loops, "cavities": cavities}


def test_ignored_voxels_are_not_counted():
    label = np.zeros((12, 12, 12), np.uint8)
    label[1:4, 1:4, 1:4] = PHARYNX
    label[8:10, 8:10, 8:10] = SINUSES
    label[6, 1, 1] = IGNORE
    found = truth.describe_topology(label, (1.0, 1.0, 2.0))
    assert (found["components"], found["branches"]) == (2, ["pharynx", "sinuses"])
    parts = found["parts"]
    assert isinstance(parts, dict)
    assert parts["pharynx"]["volume_ml"] == pytest.approx(0.054)
    assert found["ignored_ml"] == pytest.approx(0.002)
