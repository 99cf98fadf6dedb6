"""Linear recurrence ``h_t = a_t h_{t-1} + b_t``, solved in place and chunk by chunk, in either direction."""

from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor


class Segment(NamedTuple):
    """A run of tokens ``[start, stop)`` that is scanned at once, divided into `chunks` chunks of equal length."""

    start: int
    stop: int
    chunks: int


class Budget(NamedTuple):
    """Limits of a device: at most `numbers` elements in a working array; no chunks for rows of `widest` or more."""

    numbers: int
    widest: int


# On a CPU the working arrays should fit into the cache; an accelerator is fastest with few, large kernels.
CPU_BUDGET = Budget(numbers=2**18, widest=4096)
ACCELERATOR_BUDGET = Budget(numbers=2**26, widest=2**22)


def plan(length: int, row: int, budget: Budget) -> list[Segment]:
    """Divide a sequence into segments of whole chunks, so that no padding is needed.

    A segment of S tokens in c chunks takes 2 S/c + c calls, which is smallest at ``c = sqrt(2 S)``. For a wide row the
    cost of a call is negligible, and a single chunk is fastest because it needs no second sweep.

    Args:
        length: Tokens in the sequence.
        row: Elements in the state of one token.
        budget: Limits of the device.
    Returns:
        Segments in order, covering ``[0, length)``.
    """
    longest = max(1, budget.numbers // max(1, row))
    segments, start = [], 0
    while start < length:
        tokens = min(longest, length - start)
        chunks = isqrt(2 * tokens) if row < budget.widest and tokens >= 16 else 1
        stop = start + tokens // chunks * chunks
        segments.append(Segment(start, stop, chunks))
        start = stop
    return segments


def scan_in_place(
    decay: Tensor, values: Tensor, first: Tensor, chunk_decay: Tensor | None, *, reverse: bool = False
) -> Tensor:
    """Replace `values` by the solution of the recurrence and return the state after its last token.

    Chunks are computed side by side. A first sweep computes the final state of each chunk from an initial state of
    zero. The states are then passed from chunk to chunk, and a second sweep starts each chunk from its correct state.
    Only products of decays occur, never quotients or logarithms, so nothing overflows.

    Args:
        decay: ``a``, ``(S, *row)``.
        values: ``b`` on entry, ``h`` on return, ``(S, *row)``.
        first: State before the first token, ``(*row)``.
        chunk_decay: Product of ``a`` over each chunk, ``(chunks, *row)``; None for one chunk.
        reverse: Whether time runs from the last row to the first.
    Returns:
        The last state, a view of `values`, ``(*row)``.
    """
    order = -1 if reverse else 1
    if chunk_decay is None:
        state = first
        for a, b in list(zip(decay.unbind(0), values.unbind(0), strict=True))[::order]:
            state = torch.addcmul(b, a, state, out=b)
        return state
    chunks = chunk_decay.shape[0]
    pairs = list(
        zip(
            decay.unflatten(0, (chunks, -1)).unbind(1),
            values.unflatten(0, (chunks, -1)).unbind(1),
            strict=True,
        )
    )[::order]
    from_zero = pairs[0][1].clone()
    for a, b in pairs[1:]:
        torch.addcmul(b, a, from_zero, out=from_zero)
    states = torch.empty_like(from_zero)
    state = first
    for a, end, start in list(zip(chunk_decay.unbind(0), from_zero.unbind(0), states.unbind(0), strict=True))[::order]:
        start.copy_(state)
        state = torch.addcmul(end, a, state, out=end)
    for a, b in pairs:
        states = torch.addcmul(b, a, states, out=b)
    return values[0 if reverse else -1]
