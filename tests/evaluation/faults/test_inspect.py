"""All checks together: no finding on a correct label, one for each fault, and a failed check stops no other."""

from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.inspect import inspect_label
from tests.evaluation.faults.conftest import AFFINE, VALUES

EXPECTED = (Expected(("trachea",), components=1, loops=0, cavities=0),)


def codes(case: Any, **options: Any) -> list[str]:
    found = inspect_label(case.label, case.image, AFFINE, values=VALUES, expected=EXPECTED, **options)
    return [fault.code for fault in found]


def test_a_correct_label_has_no_findings(case: Any) -> None:
    assert codes(case) == []


def test_each_fault_is_reported_once(case: Any) -> None:
    case.label[:, :, 14:16] = 0
    case.label[30:38, 22, 26] = 2
    case.label[23:26, 21:24, 30:33] = 0
    assert codes(case) == ["BREAK", "SPUR", "HOLE"]


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_label_is_reported(case: Any, value: int) -> None:
    case.label[:] = 0
    case.label[3, 3, 3] = value
    assert codes(case) == ["EMPTY"]


def test_an_image_without_contrast_leaves_the_betti_numbers(case: Any) -> None:
    case.image = np.zeros_like(case.image)
    case.label[:, :, 14:18] = 0
    assert codes(case) == ["COMPONENTS"]


def test_findings_beyond_the_maximum_are_given_as_a_number(case: Any) -> None:
    for z in range(7, 55, 4):
        case.label[30:38, 22, z] = 2
    found = inspect_label(case.label, case.image, AFFINE, values=VALUES)
    assert len(found) == 11 and found[-1].reason == "2 more findings of this kind." and found[-1].voxel is None


def test_after_the_time_limit_a_finding_names_the_first_check_left_out(case: Any) -> None:
    (fault,) = inspect_label(case.label, case.image, AFFINE, values=VALUES, seconds=-1)
    assert (fault.code, fault.severity) == ("NOT_CHECKED", "note") and "breaks" in fault.reason


def test_a_check_that_fails_stops_no_other(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lib.evaluation.faults.inspect.find_breaks", fail)
    case.label[30:38, 22, 26] = 2
    assert codes(case) == ["NOT_CHECKED", "SPUR"]
