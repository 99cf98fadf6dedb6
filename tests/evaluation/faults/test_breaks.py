"""Breaks across air are found with their place and width; a gap filled with tissue is not a break."""

from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.breaks import find_breaks


@pytest.mark.parametrize("thick", [1, 2, 4])
def test_a_cut_is_reported_at_its_middle(case: Any, thick: int) -> None:
    case.label[:, :, 20 : 20 + thick] = 0
    (fault,) = find_breaks(case.scene())
    assert fault.code == "BREAK" and fault.label == "trachea"
    assert np.linalg.norm(np.subtract(fault.voxel, (24, 22, 19.5 + thick / 2))) < 1
    assert fault.gap_mm == pytest.approx(1.5 * thick)


def test_each_break_is_reported_once(case: Any) -> None:
    for z in (15, 27, 45):
        case.label[:, :, z : z + 2] = 0
    found = list(find_breaks(case.scene()))
    assert sorted(fault.voxel[2] for fault in found if fault.voxel) == pytest.approx([15.5, 27.5, 45.5], abs=0.6)
    assert [fault.label for fault in found].count("larynx") == 1


def test_a_gap_filled_with_tissue_is_no_break(case: Any) -> None:
    case.image[:, :, 20:22][case.label[:, :, 20:22] > 0] = 40
    case.label[:, :, 20:22] = 0
    assert list(find_breaks(case.scene())) == []


def test_a_gap_of_ignored_voxels_is_no_break(case: Any) -> None:
    between = case.label[:, :, 20:23]
    between[between > 0] = 255
    assert list(find_breaks(case.scene())) == []


def test_a_gap_of_constant_padding_is_no_break(case: Any) -> None:
    case.label[:, :, 20:23] = 0
    case.image[:, :, 19:24] = -1024
    assert list(find_breaks(case.scene())) == []


def test_a_gap_before_ignored_voxels_is_no_break(case: Any) -> None:
    case.label[:, :, 20:22] = 0
    beyond = case.label[:, :, :20]
    beyond[beyond > 0] = 255
    assert list(find_breaks(case.scene())) == []


def test_a_gap_wider_than_the_limit_is_no_break(case: Any) -> None:
    case.label[:, :, 20:32] = 0
    assert list(find_breaks(case.scene())) == []


def test_a_gap_in_air_of_one_value_is_a_break(case: Any) -> None:
    case.image[case.label > 0] = -1000
    case.label[:, :, 20:23] = 0
    (fault,) = find_breaks(case.scene())
    assert fault.gap_mm == pytest.approx(4.5), "three slices of 1.5 mm"
