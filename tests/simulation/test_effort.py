import numpy as np
import pytest

from lib.simulation.effort import Effort, added_path_mm

VALUES = {"tube": 1}
SPACING_MM = (2.0, 2.0, 5.0)


def square(first: int, last: int, slices: slice = slice(0, 3)) -> np.ndarray:
    label = np.zeros((20, 20, 3), np.uint8)
    label[first:last, first:last, slices] = 1
    return label


def test_the_time_of_a_case_is_the_sum_of_looking_drawing_and_clicking() -> None:
    effort = Effort(look_seconds=30, draw_mm_per_second=10, click_seconds=3)
    assert effort.seconds(drawn_mm=200, clicks=4) == 30 + 20 + 12


@pytest.mark.parametrize(
    ("proposal", "pixels"),
    [
        (None, 3 * 36),  # the contour of 10 x 10 pixels has 36 pixels on each of three slices
        (square(5, 15), 0),
        (square(4, 16), 0),  # an error of one pixel is not corrected
        (square(2, 18), 3 * 36),
        (square(5, 15, slice(0, 2)), 36),
        (np.zeros((20, 20, 3), np.uint8), 3 * 36),
    ],
    ids=["blank", "exact", "one pixel too large", "three pixels too large", "a slice missing", "empty proposal"],
)
def test_the_drawn_length_is_the_contour_that_the_proposal_lacks(proposal: np.ndarray | None, pixels: int) -> None:
    assert added_path_mm(square(5, 15), proposal, VALUES, SPACING_MM) == pixels * 2.0


def test_a_contour_on_a_slice_without_a_label_counts() -> None:
    assert added_path_mm(square(5, 15, slice(0, 2)), square(5, 15), VALUES, SPACING_MM) == 36 * 2.0


def test_two_classes_are_drawn_separately() -> None:
    label = square(5, 15)
    label[5:15, 5:10] *= 2
    assert added_path_mm(label, None, {"tube": 1, "cavity": 2}, SPACING_MM) == 2 * 3 * 26 * 2.0
