"""A scene: cut, measured by its own inside and surroundings, and its places told in the file's voxels and in mm."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.scene import MARGIN, Scene
from tests.evaluation.faults.conftest import AFFINE, VALUES


def test_it_is_cut_to_what_is_labelled(case: Any) -> None:
    scene = case.scene()
    assert scene.offset == (19 - MARGIN, 17 - MARGIN, 0)
    assert scene.label.shape == (11 + 2 * MARGIN, 11 + 2 * MARGIN, 60)
    assert Scene.around(np.zeros_like(case.label), case.image, VALUES, AFFINE) is None


@pytest.mark.parametrize(("gain", "shift"), [(1.0, 0.0), (0.9, 150.0), (-1.0, 0.0)])
def test_likeness_needs_no_calibration(case: Any, gain: float, shift: float) -> None:
    case.image = np.rint(gain * case.image.astype(float) + shift).astype(np.int16)
    scene = case.scene()
    like, inside = scene.likeness, scene.union
    assert like is not None
    assert abs(like[inside].mean() - 1) < 0.02 and scene.noise == pytest.approx(20 / 1040, rel=0.2)


def test_noise_that_hides_the_wall_says_so(make_case: Callable[..., Any]) -> None:
    assert make_case(noise_hu=700).scene().likeness is None
    assert make_case(noise_hu=300).scene().likeness is not None


def test_places_are_told_in_both_ways(case: Any) -> None:
    fault = case.scene().fault("SPUR", "It is.", (3.2, 4.0, 5.0), label="trachea", voxels=4)
    i, j, k = 3 + 19 - MARGIN, 4 + 17 - MARGIN, 5
    assert fault.voxel == (i, j, k) and fault.ras_mm == (30.0 - i, 20.0 - j, 1.5 * k - 7)
    assert fault.volume_mm3 == 6.0


def test_sizes_are_the_larger_of_voxels_and_mm(case: Any) -> None:
    scene = case.scene()
    assert (scene.count(3, 3.0), scene.count(3, 30.0)) == (3, 20)
    assert (scene.steps(2, 1.0), scene.steps(1, 5.7)) == (2, 5)
