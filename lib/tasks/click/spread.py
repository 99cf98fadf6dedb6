"""From the slices that were clicked to their neighbours, until the object fades."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from torch import Tensor

from lib.models.sam.predictor import Answer

LEAST_OVERLAP, MOST_GROWTH = 0.2, 4.0
"""Of 3341 steps between the true slices of procedural labels, 0.1 % overlap less and under 1 % grow more."""
Step = Callable[[int, Answer], Answer]
"""What is found on a slice, given what was found on the one before."""
Reached = tuple[int, Answer, int]
"""A slice, what is found there, and how many slices away it was clicked."""


def spread(clicked: Mapping[int, Answer], step: Step, first: int, last: int) -> Iterator[Reached]:
    """Yield what is found on the clicked slices and on their neighbours, every slice once.

    Between two clicked slices each is answered by the nearer one; where one of them fades before, the upper goes on.

    Args:
        clicked: What is found on the clicked slices.
        step: Goes on to a neighbour.
        first: The lowest slice to look at.
        last: The highest.
    """
    indices = sorted(clicked)
    yield from ((index, clicked[index], 0) for index in indices)
    yield from _walk(indices[0], clicked[indices[0]], range(indices[0] - 1, first - 1, -1), step)
    for low, high in pairwise(indices):
        reached = low
        for found in _walk(low, clicked[low], range(low + 1, (low + high) // 2 + 1), step):
            reached = found[0]
            yield found
        yield from _walk(high, clicked[high], range(high - 1, reached, -1), step)
    yield from _walk(indices[-1], clicked[indices[-1]], range(indices[-1] + 1, last + 1), step)


def faded(before: Tensor, after: Tensor) -> bool:
    """Say whether what is found on a slice is no longer what was found on the one before.

    It is gone, lies elsewhere (the smaller of the two overlaps the other by less than `LEAST_OVERLAP`), or has run out
    into its surroundings (`MOST_GROWTH` times the area).

    Args:
        before: ``(H, W)`` bool, not empty.
        after: The next slice's.
    """
    was, now = int(before.sum()), int(after.sum())
    if now == 0 or now > MOST_GROWTH * was:
        return True
    return int((before & after).sum()) < LEAST_OVERLAP * min(was, now)


def _walk(start: int, answer: Answer, slices: range, step: Step) -> Iterator[Reached]:
    if not answer.mask.any():
        return
    for index in slices:
        found = step(index, answer)
        if faded(answer.mask, found.mask):
            return
        yield index, found, abs(index - start)
        answer = found
