"""Betti numbers against what is expected, without a look at the image."""

from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.counts import miscounted
from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault

ONE = Expected(("trachea",), components=1, loops=0, cavities=0)


def test_a_right_label_is_as_expected_together_and_apart(case: Any) -> None:
    both = Expected(("larynx", "trachea"), components=1, loops=0, cavities=0)
    assert [*miscounted(case.scene(), ONE, ()), *miscounted(case.scene(), both, ())] == []


@pytest.mark.parametrize(
    ("box", "value", "code", "place"),
    [
        # Five slices named larynx by mistake.
        ((slice(None), slice(None), slice(12, 17)), 1, "COMPONENTS", (24, 22, 8.5)),
        ((slice(22, 27), slice(20, 25), slice(18, 23)), 0, "HOLE", (24, 22, 20)),
    ],
)
def test_too_many(case: Any, box: tuple, value: int, code: str, place: tuple) -> None:
    case.label[box][case.label[box] > 0] = value
    (fault,) = miscounted(case.scene(), ONE, ())
    assert (fault.code, fault.label) == (code, "trachea")
    assert np.linalg.norm(np.subtract(fault.voxel, place)) <= 2


def test_a_loop_is_told_at_its_thinnest_place(case: Any) -> None:
    case.label[29:37, 21:24, 12:15] = case.label[29:37, 21:24, 26:29] = 2
    case.label[36:39, 21:24, 12:29] = 2
    case.label[36:39, 21:24, 19:22] = 0
    case.label[37, 22, 19:22] = 2
    (fault,) = miscounted(case.scene(), ONE, ())
    assert fault.code == "LOOP" and np.linalg.norm(np.subtract(fault.voxel, (37, 22, 20))) <= 1.5


def test_what_another_check_found_is_not_told_twice(case: Any) -> None:
    case.label[:, :, 20:23] = 0
    known = [Fault("BREAK", "", "", label="larynx", voxel=(24, 22, 21))]
    assert [fault.code for fault in miscounted(case.scene(), ONE, ())] == ["COMPONENTS"]
    assert list(miscounted(case.scene(), ONE, known)) == []
    elsewhere = [Fault("BREAK", "", "", label="larynx", voxel=(24, 22, 50)), Fault("BREAK", "2 more of these.", "")]
    assert [fault.code for fault in miscounted(case.scene(), ONE, elsewhere)] == ["COMPONENTS"]


def test_specks_and_labels_that_are_not_there_do_not_count(case: Any) -> None:
    case.label[2, 2, 2] = 2
    assert list(miscounted(case.scene(), ONE, ())) == []
    case.label[case.label == 2] = 0
    assert list(miscounted(case.scene(), ONE, ())) == []


def test_a_way_around_what_is_ignored_may_be_none(case: Any) -> None:
    tube = case.label > 0
    case.label[...] = np.where(tube, 2, 0)
    middle = tube.copy()
    middle[:21] = middle[28:] = middle[:, :19] = middle[:, 26:] = False
    case.label[middle] = 0
    assert [fault.code for fault in miscounted(case.scene(), ONE, ())] == ["LOOP"]
    case.label[middle] = 255
    assert list(miscounted(case.scene(), ONE, ())) == []
