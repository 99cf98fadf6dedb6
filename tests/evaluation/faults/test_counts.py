"""Betti numbers are compared with their limits without use of the image."""

from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.counts import find_miscounts
from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault

ONE = Expected(("trachea",), components=1, loops=0, cavities=0)


def test_a_correct_label_has_no_findings_for_one_label_and_for_both(case: Any) -> None:
    both = Expected(("larynx", "trachea"), components=1, loops=0, cavities=0)
    assert [*find_miscounts(case.scene(), ONE, ()), *find_miscounts(case.scene(), both, ())] == []


@pytest.mark.parametrize(
    ("box", "value", "code", "place"),
    [
        # Five slices labelled larynx by mistake.
        ((slice(None), slice(None), slice(12, 17)), 1, "COMPONENTS", (24, 22, 8.5)),
        ((slice(22, 27), slice(20, 25), slice(18, 23)), 0, "HOLE", (24, 22, 20)),
    ],
)
def test_a_number_above_the_limit_is_reported(case: Any, box: tuple, value: int, code: str, place: tuple) -> None:
    case.label[box][case.label[box] > 0] = value
    (fault,) = find_miscounts(case.scene(), ONE, ())
    assert (fault.code, fault.label) == (code, "trachea")
    assert np.linalg.norm(np.subtract(fault.voxel, place)) <= 2


def test_a_loop_is_reported_at_its_thinnest_place(case: Any) -> None:
    case.label[29:37, 21:24, 12:15] = case.label[29:37, 21:24, 26:29] = 2
    case.label[36:39, 21:24, 12:29] = 2
    case.label[36:39, 21:24, 19:22] = 0
    case.label[37, 22, 19:22] = 2
    (fault,) = find_miscounts(case.scene(), ONE, ())
    assert fault.code == "LOOP" and np.linalg.norm(np.subtract(fault.voxel, (37, 22, 20))) <= 1.5


def test_a_fault_found_by_another_check_is_not_reported_twice(case: Any) -> None:
    case.label[:, :, 20:23] = 0
    known = [Fault("BREAK", "", "", label="larynx", voxel=(24, 22, 21))]
    assert [fault.code for fault in find_miscounts(case.scene(), ONE, ())] == ["COMPONENTS"]
    assert list(find_miscounts(case.scene(), ONE, known)) == []
    elsewhere = [
        Fault("BREAK", "", "", label="larynx", voxel=(24, 22, 50)),
        Fault("BREAK", "2 more.", ""),
    ]
    assert [fault.code for fault in find_miscounts(case.scene(), ONE, elsewhere)] == ["COMPONENTS"]


def test_specks_and_absent_labels_do_not_count(case: Any) -> None:
    case.label[2, 2, 2] = 2
    assert list(find_miscounts(case.scene(), ONE, ())) == []
    case.label[case.label == 2] = 0
    assert list(find_miscounts(case.scene(), ONE, ())) == []


def test_a_loop_around_ignored_voxels_is_not_reported(case: Any) -> None:
    tube = case.label > 0
    case.label[...] = np.where(tube, 2, 0)
    middle = tube.copy()
    middle[:21] = middle[28:] = middle[:, :19] = middle[:, 26:] = False
    case.label[middle] = 0
    assert [fault.code for fault in find_miscounts(case.scene(), ONE, ())] == ["LOOP"]
    case.label[middle] = 255
    assert list(find_miscounts(case.scene(), ONE, ())) == []
