"""A hole in a label over air is found; a hole over a mass in the lumen is not reported."""

from typing import Any

from lib.evaluation.faults.holes import find_holes


def test_a_hole_is_reported_with_place_and_volume(case: Any) -> None:
    case.label[23:26, 21:24, 30:33] = 0
    (fault,) = find_holes(case.scene())
    assert (fault.code, fault.label, fault.voxel, fault.volume_mm3) == ("HOLE", "trachea", (24, 22, 31), 40.5)


def test_an_unlabelled_mass_in_the_lumen_is_no_hole(case: Any) -> None:
    case.label[23:26, 21:24, 30:33] = 0
    case.image[23:26, 21:24, 30:33] = 40
    assert list(find_holes(case.scene())) == []


def test_a_correct_label_and_an_open_end_have_no_findings(case: Any) -> None:
    assert list(find_holes(case.scene())) == []
    case.label[23:26, 21:24, 50:] = 0
    assert list(find_holes(case.scene())) == []
