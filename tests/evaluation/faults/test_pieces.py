"""Pieces by size, with the boxes they lie in."""

import numpy as np

from lib.evaluation.faults.pieces import box_start, boxes, padded, pieces


def test_the_largest_comes_first_in_its_box() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = True
    mask[2:4, 3, 5] = True
    (one, many, box), (other, single, _) = boxes(pieces(mask))
    assert (many, single) == (2, 1) and one != other
    assert box == (slice(2, 4), slice(3, 4), slice(5, 6)) and box_start(box).tolist() == [2, 3, 5]
    assert padded(box, mask.shape, 1) == (slice(1, 5), slice(2, 5), slice(4, 6))


def test_corners_join_over_26_neighbours_alone() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert (len(boxes(pieces(mask))), len(boxes(pieces(mask, 6)))) == (1, 2)


def test_nothing_has_no_pieces() -> None:
    assert boxes(pieces(np.zeros((3, 3, 3), bool))) == []
