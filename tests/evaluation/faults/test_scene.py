"""A scene is cropped, measures similarity on its own label, and gives places in voxels of the file and in mm."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.scene import MARGIN, Scene
from tests.evaluation.faults.conftest import AFFINE, VALUES


def test_it_is_cropped_to_the_labelled_voxels(case: Any) -> None:
    scene = case.scene()
    assert scene.offset == (19 - MARGIN, 17 - MARGIN, 0)
    assert scene.label.shape == (11 + 2 * MARGIN, 11 + 2 * MARGIN, 60)
    assert Scene.crop(np.zeros_like(case.label), case.image, VALUES, AFFINE) is None


@pytest.mark.parametrize(("gain", "shift"), [(1.0, 0.0), (0.9, 150.0), (-1.0, 0.0)])
def test_likeness_needs_no_calibration(case: Any, gain: float, shift: float) -> None:
    case.image = np.rint(gain * case.image.astype(float) + shift).astype(np.int16)
    scene = case.scene()
    similarity, inside = scene.similarity, scene.union
    assert similarity is not None
    assert abs(similarity[inside].mean() - 1) < 0.02 and scene.noise == pytest.approx(20 / 1040, rel=0.2)


def test_there_is_no_similarity_if_noise_hides_the_wall(make_case: Callable[..., Any]) -> None:
    assert make_case(noise_hu=700).scene().similarity is None
    assert make_case(noise_hu=300).scene().similarity is not None


def test_a_place_is_given_as_voxel_and_in_ras_mm(case: Any) -> None:
    fault = case.scene().make_fault("SPUR", "A spur.", (3.2, 4.0, 5.0), label="trachea", voxels=4)
    i, j, k = 3 + 19 - MARGIN, 4 + 17 - MARGIN, 5
    assert fault.voxel == (i, j, k) and fault.ras_mm == (30.0 - i, 20.0 - j, 1.5 * k - 7)
    assert fault.volume_mm3 == 6.0


def test_sizes_are_the_larger_of_the_minimum_and_the_physical_size(case: Any) -> None:
    scene = case.scene()
    assert (scene.to_voxels(3, 3.0), scene.to_voxels(3, 30.0)) == (3, 20)
    assert (scene.to_steps(2, 1.0), scene.to_steps(1, 5.7)) == (2, 5)
