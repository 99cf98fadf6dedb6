import numpy as np
import pytest

from lib.simulation.effort import Effort, added_path_mm

VALUES = {"tube": 1}
SPACING_MM = (2.0, 2.0, 5.0)


def square(first: int, last: int, slices: slice = slice(0, 3)) -> np.ndarray:
    label = np.zeros((20, 20, 3), np.uint8)
    label[first:last, first:last, slices] = 1
    return label


def test_a_case_takes_the_look_the_drawing_and_the_clicks() -> None:
    effort = Effort(look_seconds=30, draw_mm_per_second=10, click_seconds=3)
    assert effort.seconds(drawn_mm=200, clicks=4) == 30 + 20 + 12


@pytest.mark.parametrize(
    ("proposal", "pixels"),
    [
        (None, 3 * 36),  # the contour of 10 x 10 pixels has 36, on each of three slices
        (square(5, 15), 0),
        (square(4, 16), 0),  # a pixel off is not redrawn
        (square(2, 18), 3 * 36),
        (square(5, 15, slice(0, 2)), 36),
        (np.zeros((20, 20, 3), np.uint8), 3 * 36),
    ],
    ids=["blank", "exact", "a pixel off", "three pixels off", "a slice missing", "nothing found"],
)
def test_what_is_drawn(proposal: np.ndarray | None, pixels: int) -> None:
    assert added_path_mm(square(5, 15), proposal, VALUES, SPACING_MM) == pixels * 2.0


def test_a_contour_where_nothing_is_must_be_taken_away() -> None:
    assert added_path_mm(square(5, 15, slice(0, 2)), square(5, 15), VALUES, SPACING_MM) == 36 * 2.0


def test_two_classes_are_drawn_apart() -> None:
    label = square(5, 15)
    label[5:15, 5:10] *= 2
    assert added_path_mm(label, None, {"tube": 1, "cavity": 2}, SPACING_MM) == 2 * 3 * 26 * 2.0
