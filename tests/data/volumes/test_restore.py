"""Labels on the source grid are those of linearly interpolated logits, in any orientation."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage

from lib.data.volumes.grid import Grid
from lib.data.volumes.restore import restore

SHAPE = (9, 12, 7)


def slabs(logits: torch.Tensor, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield logits ``(K, X, Y, Z)`` in slabs of `size` slices."""
    for start in range(0, logits.shape[-1], size):
        yield start, logits[..., start : start + size]


def smooth_logits(classes: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((classes, *shape))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 1, 1, 1))).float()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slab", [1, 3, 50])
def test_equals_labels_of_interpolated_logits(random_affine: Callable[..., np.ndarray], seed: int, slab: int) -> None:
    grid = Grid.over(SHAPE, random_affine(seed), (1.1, 0.6, 0.8))
    logits = smooth_logits(4, grid.shape, seed)
    ijk = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3)
    inverse = np.linalg.inv(grid.to_source)
    where = np.clip((ijk @ inverse[:3, :3].T + inverse[:3, 3]).T, 0, np.array(grid.shape)[:, None] - 1)
    interpolated = np.stack([ndimage.map_coordinates(c, where, order=1) for c in logits.double().numpy()])
    found = restore(slabs(logits, slab), grid)
    assert found.dtype == np.uint8 and found.shape == SHAPE
    margin = np.sort(interpolated, 0)
    clear = (margin[-1] - margin[-2] > 1e-5).reshape(SHAPE)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], interpolated.argmax(0).reshape(SHAPE)[clear])


def test_equal_grids_keep_the_label(random_affine: Callable[..., np.ndarray]) -> None:
    affine = random_affine(3)
    label = np.random.default_rng(0).integers(0, 5, SHAPE, dtype=np.uint8)
    grid = Grid.over(SHAPE, affine, (1.0, 1.0, 1.0))
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    source = np.linalg.norm(affine[:3, :3], axis=0)
    grid = Grid.over(SHAPE, affine, [source[axis.source_axis] for axis in grid.axes])
    assert not np.allclose(spacing, source)
    hot = torch.nn.functional.one_hot(grid.label(label).long(), 5).movedim(-1, 0).float()
    np.testing.assert_array_equal(restore(slabs(hot, 2), grid), label)


def test_boundary_between_samples_stays_in_place() -> None:
    # The boundary is a plane at x = 10.3 mm; the logits are linear in the distance to it. The grid is coarser.
    grid = Grid.over((40, 8, 4), np.eye(4), (2.0, 1.0, 1.0))
    x = torch.arange(grid.shape[0]) * grid.axes[0].step + grid.axes[0].offset
    distance = (x - 10.3)[:, None, None].expand(grid.shape)
    found = restore(slabs(torch.stack([-distance, distance]), 4), grid)
    np.testing.assert_array_equal(found[:, 0, 0], np.arange(40) > 10.3)
    nearest = grid.label_to_source((distance > 0).to(torch.uint8))
    assert (nearest != found).any(), "nearest-neighbour labels would move the boundary"


def test_2d_source_gets_a_2d_label() -> None:
    grid = Grid.over((16, 12), np.eye(4), (0.5, 2.0, 1.0))
    logits = smooth_logits(3, grid.shape, 1)
    assert restore(slabs(logits, 4), grid).shape == (16, 12)


@pytest.mark.parametrize("broken", ["gap", "short", "wide", "long"])
def test_slabs_that_do_not_cover_the_grid_are_refused(broken: str) -> None:
    grid = Grid.over(SHAPE, np.eye(4), (1.0, 1.0, 1.0))
    logits = torch.zeros(2, *SHAPE)
    given = {
        "gap": [(0, logits[..., :2]), (3, logits[..., 3:])],
        "short": [(0, logits[..., :5])],
        "wide": [(0, torch.zeros(2, 9, 13, 7))],
        "long": [(0, torch.zeros(2, 9, 12, 8))],
    }[broken]
    with pytest.raises(ValueError, match="slab"):
        restore(given, grid)
