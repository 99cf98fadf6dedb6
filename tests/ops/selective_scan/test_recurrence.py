"""The in-place recurrence equals a plain loop in both directions, and its plan covers every token."""

import pytest
import torch

from lib.ops.selective_scan.recurrence import Budget, plan, scan_in_place


def scan_by_loop(decay: torch.Tensor, values: torch.Tensor, first: torch.Tensor, reverse: bool) -> torch.Tensor:
    state, rows = first, [torch.empty(0)] * len(values)
    for index in range(len(values))[:: -1 if reverse else 1]:
        state = decay[index] * state + values[index]
        rows[index] = state
    return torch.stack(rows)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("length", "chunks"), [(1, 1), (12, 1), (12, 3), (12, 12), (60, 5)])
def test_scan_in_place_equals_the_loop(length: int, chunks: int, reverse: bool) -> None:
    torch.manual_seed(length)
    decay, values, first = torch.rand(length, 2, 3), torch.randn(length, 2, 3), torch.randn(2, 3)
    wanted = scan_by_loop(decay, values, first, reverse)
    over_chunk = None if chunks == 1 else decay.unflatten(0, (chunks, -1)).prod(1)
    last = scan_in_place(decay, values, first, over_chunk, reverse=reverse)
    torch.testing.assert_close(values, wanted)
    torch.testing.assert_close(last, wanted[0 if reverse else -1])


@pytest.mark.parametrize("length", [1, 15, 16, 17, 1000, 4099])
@pytest.mark.parametrize("row", [1, 64, 4096])
def test_plan_covers_every_token_once_in_whole_chunks(length: int, row: int) -> None:
    segments = plan(length, row, Budget(numbers=2**14, widest=2048))
    assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
    assert segments[-1].stop == length
    assert all((segment.stop - segment.start) % segment.chunks == 0 for segment in segments)
