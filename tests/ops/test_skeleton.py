"""The skeleton of a mask is thin, lies inside the mask, and has its components, tunnels and cavities."""

import itertools

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import skeletonize

from lib.evaluation.metrics.topology import betti_numbers
from lib.ops.skeleton import skeleton
from tests.ops.tubes import SHAPES, tube


def is_thin(line: np.ndarray) -> bool:
    """Return whether no block of two voxels per side is filled."""
    blocks = [
        line[tuple(slice(start, line.shape[axis] - 1 + start) for axis, start in enumerate(corner))]
        for corner in itertools.product((0, 1), repeat=line.ndim)
    ]
    return not np.logical_and.reduce(blocks).any()


@pytest.mark.parametrize("name", SHAPES)
def test_no_shape_vanishes_and_each_is_thin_with_its_topology(name: str) -> None:
    mask = SHAPES[name]
    line = skeleton(mask)
    assert line.any() and not (line & ~mask).any() and is_thin(line)
    assert betti_numbers(line) == betti_numbers(mask)


@pytest.mark.parametrize("width", range(1, 13))
def test_the_centreline_of_a_tube_runs_along_its_middle(width: int) -> None:
    """Of 26 voxels, it may lack the radius at each end, as the thinning of an odd tube does, and two voxels more."""
    places = np.argwhere(skeleton(tube(width, width, 2)))
    assert 26 - width - 2 <= np.ptp(places[:, 2]) + 1 <= 26
    middle = 2 + (width - 1) / 2
    assert (np.abs(places[:, :2] - middle) <= 1).all()


def test_scikit_image_still_erases_even_tubes() -> None:
    """If this fails, scikit-image has mended its issue 3757 and the thinning of volumes here can go."""
    assert not skeletonize(tube(6, 6, 2)).any() and skeletonize(tube(5, 5, 2)).any()


@pytest.mark.parametrize("shape", [(14, 13, 12), (30, 31)])
def test_random_masks_keep_their_topology(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8, 0.95):
        noise = rng.random(shape)
        for mask in (noise < share, ndimage.gaussian_filter(noise, 1) < 0.4 + 0.2 * share):
            assert betti_numbers(skeleton(mask)) == betti_numbers(mask)


def test_every_small_block_keeps_its_topology() -> None:
    """All 4096 masks of 3 x 2 x 2 voxels, side by side: none is connected with another."""
    bits = np.unpackbits(np.arange(4096, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 4:].astype(bool)
    tiles = np.pad(bits.reshape(-1, 3, 2, 2), ((0, 0), (1, 1), (1, 1), (1, 1)))
    mask = tiles.reshape(16, 256, 5, 4, 4).transpose(0, 2, 1, 3, 4).reshape(80, 1024, 4)
    line = skeleton(mask)
    for row, column in itertools.product(range(16), range(256)):
        tile = slice(5 * row, 5 * row + 5), slice(4 * column, 4 * column + 4)
        assert betti_numbers(line[tile]) == betti_numbers(mask[tile])


def test_a_line_is_its_own_skeleton_and_an_empty_mask_has_none() -> None:
    line = np.zeros((9, 9, 20), bool)
    assert not skeleton(line).any()
    line[4, 4, 2:18] = True
    assert np.array_equal(skeleton(line), line)


def test_a_mask_that_fills_the_array_has_a_skeleton() -> None:
    assert skeleton(np.ones((6, 6, 6), bool)).any() and skeleton(np.ones((6, 6), bool)).any()


def test_other_numbers_of_axes_raise() -> None:
    with pytest.raises(ValueError, match="two or three axes"):
        skeleton(np.ones(5, bool))
