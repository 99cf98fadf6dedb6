"""All checks together: nothing on a right label, all of a spoilt one, and no failure of one stops the others."""

from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults import Expected, inspect_label
from tests.evaluation.faults.conftest import AFFINE, VALUES

EXPECTED = (Expected(("trachea",), components=1, loops=0, cavities=0),)


def codes(case: Any, **options: Any) -> list[str]:
    found = inspect_label(case.label, case.image, AFFINE, values=VALUES, expected=EXPECTED, **options)
    return [fault.code for fault in found]


def test_a_right_label_has_no_findings(case: Any) -> None:
    assert codes(case) == []


def test_each_fault_is_told_once(case: Any) -> None:
    case.label[:, :, 14:16] = 0
    case.label[30:38, 22, 26] = 2
    case.label[23:26, 21:24, 30:33] = 0
    assert codes(case) == ["BREAK", "SPUR", "HOLE"]


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_label_says_so(case: Any, value: int) -> None:
    case.label[:] = 0
    case.label[3, 3, 3] = value
    assert codes(case) == ["EMPTY"]


def test_an_image_that_says_nothing_leaves_the_numbers(case: Any) -> None:
    case.image = np.zeros_like(case.image)
    case.label[:, :, 14:18] = 0
    assert codes(case) == ["COMPONENTS"]


def test_many_of_a_kind_are_told_as_a_number(case: Any) -> None:
    for z in range(7, 55, 4):
        case.label[30:38, 22, z] = 2
    found = inspect_label(case.label, case.image, AFFINE, values=VALUES)
    assert len(found) == 11 and found[-1].reason == "2 more of these." and found[-1].voxel is None


def test_when_the_time_is_over_it_says_what_was_left_out(case: Any) -> None:
    (fault,) = inspect_label(case.label, case.image, AFFINE, values=VALUES, seconds=-1)
    assert (fault.code, fault.severity) == ("NOT_CHECKED", "note") and "breaks" in fault.reason


def test_a_check_that_fails_stops_no_other(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lib.evaluation.faults.inspect.breaks", fail)
    case.label[30:38, 22, 26] = 2
    assert codes(case) == ["NOT_CHECKED", "SPUR"]
