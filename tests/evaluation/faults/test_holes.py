"""Holes in the lumen, and none where something really is in it."""

from typing import Any

from lib.evaluation.faults.holes import holes


def test_a_hole_has_place_and_volume(case: Any) -> None:
    case.label[23:26, 21:24, 30:33] = 0
    (fault,) = holes(case.scene())
    assert (fault.code, fault.label, fault.voxel, fault.volume_mm3) == ("HOLE", "trachea", (24, 22, 31), 40.5)


def test_a_mass_in_the_lumen_is_no_hole(case: Any) -> None:
    case.label[23:26, 21:24, 30:33] = 0
    case.image[23:26, 21:24, 30:33] = 40
    assert list(holes(case.scene())) == []


def test_an_open_end_and_a_right_label_say_nothing(case: Any) -> None:
    assert list(holes(case.scene())) == []
    case.label[23:26, 21:24, 50:] = 0
    assert list(holes(case.scene())) == []
