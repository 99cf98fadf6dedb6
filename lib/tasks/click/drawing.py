"""Masks of one request: segment every label on its clicked slices, follow it to other slices, merge the labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.evaluation.metrics.clicks import inner_points
from lib.jobs.failure_watch import check_finite
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane
from lib.tasks.click.image_cache import OpenedImage
from lib.tasks.click.request import ClickRequest, Marks, Voxel
from lib.tasks.click.spread import SpreadSlice, spread

FOLLOW_POINTS = 3
MOST_POINTS = 32
"""Most clicks of one kind used on a slice; a scribble with more points is thinned evenly to this number."""
NEARER = 64.0
"""Penalty per slice of distance to the clicked slice; twice the largest logit that counts, so that the label with the
nearer click wins a pixel."""
EarlierMasks = Mapping[str, Mapping[int, Tensor]]
"""Masks ``(H, W)`` to correct, by label and slice."""


@dataclass(eq=False)
class Canvas:
    """Label values by slice, and the score with which a label holds each pixel.

    Args:
        values: ``(H, W)`` uint8.
        claims: ``(H, W)`` scores by slice; empty if the task has one label.
    """

    values: dict[int, Tensor] = field(default_factory=dict)
    claims: dict[int, Tensor] = field(default_factory=dict)

    def put(self, value: int, reached: Iterable[SpreadSlice], *, alone: bool) -> None:
        """Draw the masks of a label.

        Of two labels, the one with the nearer click gets a pixel, then the one with the larger logit. If most of a
        label's mask on a slice belongs to a label with a nearer click, the mask has leaked into that label and is
        dropped.

        Args:
            value: Value of the label.
            reached: The label's masks, by slice.
            alone: Whether this is the only label.
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
        # The claim of a label clicked n slices away lies within NEARER / 2 of -n * NEARER.
        if _mostly(mask, claims > NEARER / 2 - NEARER * away):
            return
        farther = (claims <= -NEARER * away) & (values > 0)
        for other in values[mask & farther].unique():
            other_mask = farther & (values == other)
            if _mostly(other_mask, mask):
                values[other_mask], claims[other_mask] = 0, -torch.inf
        claim = torch.where(mask, answer.logits.clamp(max=NEARER / 2) - NEARER * away, -torch.inf)
        wins = claim > claims
        values[wins] = value
        claims[wins] = claim[wins]


@dataclass(frozen=True, eq=False)
class Drawing:
    """The computation of one request.

    Args:
        predictor: Segments a slice from clicks.
        opened: The image.
        plane: Returns a slice of the image by its index.
        request: The clicks and boxes.
        earlier: Masks to correct; empty if the request starts from scratch.
    """

    predictor: ClickPredictor
    opened: OpenedImage
    plane: Callable[[int], Plane]
    request: ClickRequest
    earlier: EarlierMasks

    def draw(self, values: Mapping[str, int]) -> dict[int, Tensor]:
        """Return label values ``(H, W)`` by slice; slices that are left out are background.

        Args:
            values: Label value by label name.
        """
        canvas = Canvas(self._untouched(values))
        for name, marks in self.request.marks.items():
            canvas.put(values[name], self._reached(name, marks), alone=len(values) == 1)
        return canvas.values

    def _untouched(self, values: Mapping[str, int]) -> dict[int, Tensor]:
        """Return the slices of the earlier masks without a click; these stay as they are."""
        kept: dict[int, Tensor] = {}
        clicked = {index for marks in self.request.marks.values() for index in self._clicked(marks)}
        for name, masks in self.earlier.items():
            for index in masks.keys() - clicked if self.request.slice_index is None else ():
                kept.setdefault(index, torch.zeros_like(masks[index], dtype=torch.uint8))[masks[index]] = values[name]
        return kept

    def _reached(self, name: str, marks: Marks) -> Iterable[SpreadSlice]:
        earlier = self.earlier.get(name, {})
        answers = {index: self._answer(index, marks, earlier.get(index)) for index in self._clicked(marks)}
        found = {index: answer for index, answer in answers.items() if answer is not None}
        if self.request.slice_index is not None or self.earlier or not found:
            return [(index, answer, 0) for index, answer in found.items()]
        first, last = (0, len(self.opened.stack) - 1) if marks.box is None else (marks.box[0][2], marks.box[1][2])
        return spread(found, lambda index, before: self._follow(index, before, marks), first, last)

    def _clicked(self, marks: Marks) -> list[int]:
        """Return the slices that are segmented from prompts; for a box without clicks, its middle slice."""
        if self.request.slice_index is not None:
            return [self.request.slice_index]
        points = [*marks.foreground, *(marks.background if self.earlier else ())]
        if not points and marks.box is not None:
            return [(marks.box[0][2] + marks.box[1][2]) // 2]
        return sorted({point[2] for point in points})

    def _answer(self, index: int, marks: Marks, earlier: Tensor | None) -> Answer | None:
        clicks = self._clicks(marks.on_slice(index), index)
        if not clicks.foreground and clicks.box is None and (earlier is None or not earlier.any()):
            return None
        return _checked(self.predictor.predict(self.plane(index), clicks, earlier))

    def _follow(self, index: int, before: Answer, marks: Marks) -> Answer:
        inside = tuple((float(row), float(column)) for row, column in inner_points(before.mask.numpy(), FOLLOW_POINTS))
        beside = self._places(marks.on_slice(index).background)
        return _checked(self.predictor.propagate(self.plane(index), before, Clicks(inside, beside)))

    def _clicks(self, marks: Marks, index: int) -> Clicks:
        box = None
        # For a request of one slice, the box applies to that slice, whatever its depth.
        if marks.box and (self.request.slice_index is not None or marks.box[0][2] <= index <= marks.box[1][2]):
            ends = self._places(marks.box)
            (top, bottom), (left, right) = (sorted(end[axis] for end in ends) for axis in (0, 1))
            box = (top, left, bottom, right)
        return Clicks(self._places(_thinned(marks.foreground)), self._places(_thinned(marks.background)), box)

    def _places(self, points: Iterable[Voxel]) -> tuple[tuple[float, float], ...]:
        places = (self.opened.stack.plane_position(point) for point in points)
        return tuple((float(row), float(column)) for _, row, column in places)


def _mostly(part: Tensor, of: Tensor) -> bool:
    return 2 * int((part & of).sum()) > int(part.sum())


def _thinned(points: tuple[Voxel, ...]) -> tuple[Voxel, ...]:
    """Return at most `MOST_POINTS` evenly spaced points, including the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return tuple(points[round(step * last / (MOST_POINTS - 1))] for step in range(MOST_POINTS))


def _checked(answer: Answer) -> Answer:
    check_finite(answer.window)
    return answer
