"""One request's masks: every label answered on the slices that were clicked, followed from there, and put together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.evaluation.metrics.clicks import inner_points
from lib.jobs.watch import check_finite
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane
from lib.tasks.click.request import Asked, Marks, Voxel
from lib.tasks.click.spread import Reached, spread
from lib.tasks.click.volumes import Opened

FOLLOW_POINTS = 3
MOST_POINTS = 32
"""Of one kind on one slice; of a scribble's denser points, so many are taken, evenly."""
NEARER = 64.0
"""Twice the largest logit that counts: of two labels that claim a pixel, the one that was clicked nearer wins."""
Earlier = Mapping[str, Mapping[int, Tensor]]
"""Masks ``(H, W)`` to mend, by label and slice."""


@dataclass(eq=False)
class Canvas:
    """Label values by slice, and how strongly each pixel is claimed.

    Args:
        values: ``(H, W)`` uint8.
        claims: ``(H, W)``, where there are several labels.
    """

    values: dict[int, Tensor] = field(default_factory=dict)
    claims: dict[int, Tensor] = field(default_factory=dict)

    def put(self, value: int, reached: Iterable[Reached], *, alone: bool) -> None:
        """Draw what is found of a label.

        Between labels, the nearer click decides, then the larger logit. Where most of what one finds on a slice is
        another's that was clicked nearer, it has run into the other, and has nothing there.
        """
        for index, answer, away in reached:
            if alone:
                self.values[index] = answer.mask.to(torch.uint8) * value
            else:
                self._share(index, value, answer, away)

    def _share(self, index: int, value: int, answer: Answer, away: int) -> None:
        mask = answer.mask
        values = self.values.setdefault(index, torch.zeros_like(mask, dtype=torch.uint8))
        claims = self.claims.setdefault(index, torch.full_like(answer.logits, -torch.inf))
        # A label that was clicked n slices away claims with more than -n * NEARER, and no more than half of that above.
        if _mostly(mask, claims > NEARER / 2 - NEARER * away):
            return
        farther = (claims <= -NEARER * away) & (values > 0)
        for other in values[mask & farther].unique():
            theirs = farther & (values == other)
            if _mostly(theirs, mask):
                values[theirs], claims[theirs] = 0, -torch.inf
        claim = torch.where(mask, answer.logits.clamp(max=NEARER / 2) - NEARER * away, -torch.inf)
        wins = claim > claims
        values[wins] = value
        claims[wins] = claim[wins]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A request at work.

    Args:
        predictor: Answers.
        opened: The image.
        plane: Returns a slice of it by its index.
        asked: What was marked.
        earlier: What is to be mended; empty where all is drawn anew.
    """

    predictor: ClickPredictor
    opened: Opened
    plane: Callable[[int], Plane]
    asked: Asked
    earlier: Earlier

    def draw(self, values: Mapping[str, int]) -> dict[int, Tensor]:
        """Return label values ``(H, W)`` by slice; slices that are left out are background.

        Args:
            values: The value of each label.
        """
        canvas = Canvas(self._untouched(values))
        for name, marks in self.asked.marks.items():
            canvas.put(values[name], self._reached(name, marks), alone=len(values) == 1)
        return canvas.values

    def _untouched(self, values: Mapping[str, int]) -> dict[int, Tensor]:
        """Return the slices of an earlier mask that nobody clicked: they stay as they are."""
        kept: dict[int, Tensor] = {}
        clicked = {index for marks in self.asked.marks.values() for index in self._clicked(marks)}
        for name, masks in self.earlier.items():
            for index in masks.keys() - clicked if self.asked.slice_index is None else ():
                kept.setdefault(index, torch.zeros_like(masks[index], dtype=torch.uint8))[masks[index]] = values[name]
        return kept

    def _reached(self, name: str, marks: Marks) -> Iterable[Reached]:
        earlier = self.earlier.get(name, {})
        answers = {index: self._answer(index, marks, earlier.get(index)) for index in self._clicked(marks)}
        found = {index: answer for index, answer in answers.items() if answer is not None}
        if self.asked.slice_index is not None or self.earlier or not found:
            return [(index, answer, 0) for index, answer in found.items()]
        first, last = (0, len(self.opened.stack) - 1) if marks.box is None else (marks.box[0][2], marks.box[1][2])
        return spread(found, lambda index, before: self._follow(index, before, marks), first, last)

    def _clicked(self, marks: Marks) -> list[int]:
        """Return the slices that are answered by clicks; a box without one is answered in its middle."""
        if self.asked.slice_index is not None:
            return [self.asked.slice_index]
        points = [*marks.foreground, *(marks.background if self.earlier else ())]
        if not points and marks.box is not None:
            return [(marks.box[0][2] + marks.box[1][2]) // 2]
        return sorted({point[2] for point in points})

    def _answer(self, index: int, marks: Marks, earlier: Tensor | None) -> Answer | None:
        clicks = self._clicks(marks.on(index), index)
        if not clicks.foreground and clicks.box is None and (earlier is None or not earlier.any()):
            return None
        return _checked(self.predictor.answer(self.plane(index), clicks, earlier))

    def _follow(self, index: int, before: Answer, marks: Marks) -> Answer:
        inside = tuple((float(row), float(column)) for row, column in inner_points(before.mask.numpy(), FOLLOW_POINTS))
        beside = self._places(marks.on(index).background)
        return _checked(self.predictor.follow(self.plane(index), before, Clicks(inside, beside)))

    def _clicks(self, marks: Marks, index: int) -> Clicks:
        box = None
        # In two dimensions the slice that is shown decides, whatever the box's depth.
        if marks.box and (self.asked.slice_index is not None or marks.box[0][2] <= index <= marks.box[1][2]):
            ends = self._places(marks.box)
            (top, bottom), (left, right) = (sorted(end[axis] for end in ends) for axis in (0, 1))
            box = (top, left, bottom, right)
        return Clicks(self._places(_thinned(marks.foreground)), self._places(_thinned(marks.background)), box)

    def _places(self, points: Iterable[Voxel]) -> tuple[tuple[float, float], ...]:
        places = (self.opened.stack.place(point) for point in points)
        return tuple((float(row), float(column)) for _, row, column in places)


def _mostly(part: Tensor, of: Tensor) -> bool:
    return 2 * int((part & of).sum()) > int(part.sum())


def _thinned(points: tuple[Voxel, ...]) -> tuple[Voxel, ...]:
    """Return at most `MOST_POINTS` of some points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return tuple(points[round(step * last / (MOST_POINTS - 1))] for step in range(MOST_POINTS))


def _checked(answer: Answer) -> Answer:
    check_finite(answer.window)
    return answer
