"""Fixtures: a body of tissue with a straight airway of trachea and larynx, whose label is exact to the voxel."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from lib.evaluation.faults.scene import Scene

VALUES = {"larynx": 1, "trachea": 2}
SHAPE = (48, 44, 60)
AFFINE = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 20], [0, 0, 1.5, -7], [0, 0, 0, 1]])
"""Axes run to the left, back and head (LPS), as in a DICOM series."""


@dataclass
class Case:
    """A correct label and its image; tests inject faults into the label."""

    label: np.ndarray
    image: np.ndarray

    def scene(self) -> Scene:
        found = Scene.crop(self.label, self.image, VALUES, AFFINE)
        assert found is not None
        return found


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """Return a function that makes a case with noise of a given standard deviation in HU."""

    def made(noise_hu: float = 20.0) -> Case:
        x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
        body = ((x - 24) / 21) ** 2 + ((y - 22) / 19) ** 2 + 0 * z < 1
        tube = (x - 24) ** 2 + (y - 22) ** 2 + 0 * z <= 25
        label = np.where(tube & (z >= 6) & (z < 54), np.where(z >= 36, 1, 2), 0).astype(np.uint8)
        hu = np.where(tube, -1000.0, np.where(body, 40.0, -1000.0))
        return Case(label, (hu + np.random.default_rng(0).normal(0, noise_hu, SHAPE)).astype(np.int16))

    return made


@pytest.fixture
def case(make_case: Callable[..., Case]) -> Case:
    return make_case()
