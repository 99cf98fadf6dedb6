"""Spreading from clicked slices: the nearer click decides, and an object that fades ends."""

import pytest
import torch

from lib.models.sam.predictor import Answer
from lib.ops.frame import Frame
from lib.tasks.click.spread import has_faded, spread

FRAME = Frame(0, 0, 32)


def disc(radius: float, row: float = 16, source: int = 0) -> Answer:
    """Return a disc; its largest logit encodes the clicked slice it came from."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    inside = (y - row) ** 2 + (x - 16) ** 2 < radius**2
    return Answer(torch.where(inside, 1.0 + source, -1.0), FRAME, torch.zeros(4, 4))


def same(index: int, before: Answer) -> Answer:
    return before


def slices(clicked: dict[int, Answer], step=same, first: int = 0, last: int = 20) -> dict[int, tuple[int, int]]:
    """Return source and distance by slice, and check that no slice comes twice."""
    reached = list(spread(clicked, step, first, last))
    assert len({index for index, _, _ in reached}) == len(reached)
    return {index: (int(answer.logits.max()) - 1, away) for index, answer, away in reached}


def test_one_click_reaches_both_ends_of_the_volume() -> None:
    found = slices({5: disc(4)})
    assert sorted(found) == list(range(21)) and found[0][1] == 5 and found[20][1] == 15


def test_the_nearer_of_two_clicks_decides() -> None:
    found = slices({4: disc(4), 11: disc(4, source=1)})
    assert [index for index in found if found[index][0] == 0] == [4, 3, 2, 1, 0, 5, 6, 7]
    assert found[8] == (1, 3) and found[20] == (1, 9)


def test_the_upper_click_continues_where_the_lower_one_fades() -> None:
    def step(index: int, before: Answer) -> Answer:
        return disc(0) if before.logits.max() < 1.5 and index > 5 else before

    found = slices({4: disc(4), 11: disc(4, source=1)}, step)
    assert found[5] == (0, 1) and found[6] == (1, 5)


def test_an_empty_mask_does_not_spread_and_a_box_limits_spreading() -> None:
    assert list(slices({5: disc(0)})) == [5]
    assert sorted(slices({5: disc(4)}, first=4, last=7)) == [4, 5, 6, 7]
    assert sorted(slices({5: disc(4)}, first=6, last=7)) == [5, 6, 7], "a click outside the box still counts"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (disc(6), False),
        (disc(3.2), False),
        (disc(11), False),
        (disc(1), False),
        (disc(0), True),
        (disc(13), True),
        (disc(6, row=26), True),
    ],
)
def test_has_faded(after: Answer, expected: bool) -> None:
    assert has_faded(disc(6).mask, after.mask) is expected
