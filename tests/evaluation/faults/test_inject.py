"""Injected faults are real, and the checks find each of them at its place."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from lib.data.phantom import make_case
from lib.data.phantom.anatomy.canvas import PARTS
from lib.evaluation.faults.inject import INJECTORS, Injected, labelled_mask
from lib.evaluation.faults.inspect import inspect_label
from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.topology import betti_numbers

SEEDS = (0, 2, 3)
TUBES = [PARTS[name] for name in ("pharynx", "larynx", "trachea")]
CHANGES = {"LOOP": (0, 1, 0), "LEAK": (0, 0, 0), "SPUR": (0, 0, 0)}


class Patient(NamedTuple):
    """A correct label, its image and their affine."""

    label: np.ndarray
    image: np.ndarray
    affine: np.ndarray

    def with_fault(self, kind: str, seed: int) -> Injected:
        made = INJECTORS[kind](self.label, self.image, np.diag(self.affine)[:3].tolist(), rng(seed), TUBES)
        assert made is not None
        return made


rng = np.random.default_rng


@pytest.fixture(scope="module")
def patient() -> Patient:
    """A procedural head and neck."""
    case = make_case(3, fov="head_neck", pixel_mm=1.5, slice_mm=2.0, grid_mm=1.8)
    box = bounding_box(case.label > 0, 20)
    return Patient(case.label[box], case.image[box], case.affine)


def test_a_correct_label_has_no_findings(patient: Patient) -> None:
    assert inspect_label(*patient, values=PARTS) == []


@pytest.mark.parametrize(("seed", "kind"), list(product(SEEDS, INJECTORS)))
def test_a_fault_is_real_and_found_within_two_voxels(patient: Patient, seed: int, kind: str) -> None:
    made = patient.with_fault(kind, seed)
    before, after = betti_numbers(labelled_mask(patient.label)), betti_numbers(labelled_mask(made.label))
    change = tuple(np.subtract(after, before).tolist())
    assert change == CHANGES[kind] if kind in CHANGES else change[0] >= 1
    assert made.kind == kind and np.count_nonzero(made.label != patient.label) == len(made.points)
    (fault,) = inspect_label(made.label, patient.image, patient.affine, values=PARTS)
    assert fault.code == kind and np.linalg.norm(np.subtract(fault.voxel, made.place)) <= 2


def test_the_same_seed_makes_the_same_fault(patient: Patient) -> None:
    one, other = (patient.with_fault("SPUR", 1) for _ in "ab")
    assert np.array_equal(one.label, other.label)


def test_without_a_tube_no_break_is_injected() -> None:
    empty = np.zeros((8, 8, 8), np.uint8)
    assert INJECTORS["BREAK"](empty, empty.astype(np.int16), (1, 1, 1), rng(0), TUBES) is None
