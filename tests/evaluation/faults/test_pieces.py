"""Connected pieces are sorted by size and have bounding boxes."""

import numpy as np

from lib.evaluation.faults.pieces import box_start, number_pieces, pad_box, pieces_by_size


def test_the_largest_piece_comes_first_with_its_box() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = True
    mask[2:4, 3, 5] = True
    (one, many, box), (other, single, _) = pieces_by_size(number_pieces(mask))
    assert (many, single) == (2, 1) and one != other
    assert box == (slice(2, 4), slice(3, 4), slice(5, 6)) and box_start(box).tolist() == [2, 3, 5]
    assert pad_box(box, mask.shape, 1) == (slice(1, 5), slice(2, 5), slice(4, 6))


def test_voxels_that_share_a_corner_are_connected_only_over_26_neighbours() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert (len(pieces_by_size(number_pieces(mask))), len(pieces_by_size(number_pieces(mask, 6)))) == (1, 2)


def test_an_empty_mask_has_no_pieces() -> None:
    assert pieces_by_size(number_pieces(np.zeros((3, 3, 3), bool))) == []
