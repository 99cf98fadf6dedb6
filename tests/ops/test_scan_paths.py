"""Paths through an image visit every position once, in the documented order."""

import pytest
import torch

from lib.ops.scan_paths import PATHS, diagonal_paths, hilbert_paths


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 9), (8, 8), (7, 4), (1, 1, 1), (3, 5, 2), (4, 4, 4), (1, 6, 1)])
@pytest.mark.parametrize("name", PATHS)
def test_every_path_visits_every_position_once(shape: tuple[int, ...], name: str) -> None:
    paths = PATHS[name](shape)
    assert paths.shape == (len(shape), torch.Size(shape).numel())
    assert torch.equal(paths.sort().values, torch.arange(paths.shape[1]).expand_as(paths))


def test_diagonal_paths_match_paths_worked_by_hand() -> None:
    assert diagonal_paths((2, 3)).tolist() == [[0, 1, 3, 2, 4, 5], [2, 1, 5, 0, 4, 3]]


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 2)])
def test_the_sum_of_coordinates_never_decreases_along_a_diagonal_path(shape: tuple[int, ...]) -> None:
    first, *others = diagonal_paths(shape)
    assert (torch.stack(torch.unravel_index(first, shape)).sum(0).diff() >= 0).all()
    for axis, path in enumerate(others, start=1):
        positions = list(torch.unravel_index(path, shape))
        positions[axis] = shape[axis] - 1 - positions[axis]
        assert (torch.stack(positions).sum(0).diff() >= 0).all()


@pytest.mark.parametrize("shape", [(2, 2), (8, 8), (32, 32), (2, 2, 2), (8, 8, 8)])
def test_every_step_of_a_hilbert_path_leads_to_a_neighbour(shape: tuple[int, ...]) -> None:
    positions = torch.stack(torch.unravel_index(hilbert_paths(shape), shape))
    assert (positions.diff(dim=-1).abs().sum(0) == 1).all()


def test_a_hilbert_path_matches_a_path_worked_by_hand() -> None:
    first = [0, 4, 5, 1, 2, 3, 7, 6, 10, 11, 15, 14, 13, 9, 8, 12]
    assert first in hilbert_paths((4, 4)).tolist()


def test_a_hilbert_path_skips_positions_outside_the_image() -> None:
    inside = [position for position in hilbert_paths((4, 4))[0].tolist() if position < 12]
    assert hilbert_paths((3, 4))[0].tolist() == inside
