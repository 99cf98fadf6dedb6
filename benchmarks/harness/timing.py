"""Time calls that are compared with each other: interleaved in rounds, so that other load affects all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

FORWARD, BOTH = "forward", "forward + backward"


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def time_pass(
    function: Callable[..., Tensor],
    operands: Sequence[Tensor],
    *,
    backward: bool,
    leaves: Sequence[Tensor] | None = None,
) -> float:
    """Return the seconds of a forward pass, with the gradients of the sum of its result if wanted.

    Args:
        function: Function to time.
        operands: Its arguments.
        backward: Whether to compute gradients.
        leaves: Operands that need a gradient; None for all.
    """
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        result = function(*operands)
    if backward:
        torch.autograd.grad(result.sum(), operands if leaves is None else leaves)
    return time.perf_counter() - start


def interleave(timers: Mapping[str, Callable[[], float]], rounds: int, discard: int = 1) -> dict[str, list[float]]:
    """Call all timers in every round, and return their times round by round.

    Args:
        timers: Functions that return a time, by name.
        rounds: Number of rounds to return.
        discard: Number of warm-up rounds before these, which are not returned.
    """
    taken: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(rounds + discard):
        for name, timer in timers.items():
            value = timer()
            if turn >= discard:
                taken[name].append(value)
    return taken


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of two times, round by round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def pass_name(backward: bool) -> str:
    """Return the name of a pass in tables and results."""
    return BOTH if backward else FORWARD


def time_calls(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every call, interleaved, round by round after one warm-up round."""
    return interleave({name: lambda call=call: time_call(call) for name, call in calls.items()}, rounds)
