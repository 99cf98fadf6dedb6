"""The linear recurrence ``h_t = a_t h_{t-1} + b_t``, in place and chunk by chunk, in either direction."""

from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor


class Segment(NamedTuple):
    """A run of tokens that is scanned at once: ``[start, stop)``, cut into `chunks` equal chunks."""

    start: int
    stop: int
    chunks: int


class Budget(NamedTuple):
    """What one device likes: at most `numbers` in a working array, and no chunks for rows of `widest` or more."""

    numbers: int
    widest: int


# A CPU wants its working arrays in the cache; an accelerator wants few, large kernels.
CPU_BUDGET = Budget(numbers=2**18, widest=4096)
ACCELERATOR_BUDGET = Budget(numbers=2**26, widest=2**22)


def plan(length: int, row: int, budget: Budget) -> list[Segment]:
    """Cut a sequence into segments whose chunks divide them exactly, so that nothing is ever padded.

    A segment of S tokens in c chunks takes 2 S/c + c calls, least at ``c = sqrt(2 S)``; a wide row hides the cost of a
    call, and then one chunk, which needs no second sweep, is the fastest.

    Args:
        length: Tokens in the sequence.
        row: Numbers in the state of one token.
        budget: What the device likes.
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

    Chunks run abreast: a first sweep finds what each would add from rest, the carries then pass from chunk to chunk,
    and a second sweep starts each chunk from its true state. Only products of decays occur, never their quotients or
    logarithms, so nothing overflows.

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
    gained = pairs[0][1].clone()
    for a, b in pairs[1:]:
        torch.addcmul(b, a, gained, out=gained)
    begin = torch.empty_like(gained)
    state = first
    for a, gain, slot in list(zip(chunk_decay.unbind(0), gained.unbind(0), begin.unbind(0), strict=True))[::order]:
        slot.copy_(state)
        state = torch.addcmul(gain, a, state, out=gain)
    for a, b in pairs:
        begin = torch.addcmul(b, a, begin, out=b)
    return values[0 if reverse else -1]
