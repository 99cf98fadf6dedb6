"""Judge a prompted network as people use it: a simulated annotator clicks on slices of held-out cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read, window
from lib.evaluation.metrics.clicks import Click, Session, annotate
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import CaseScore
from lib.models.sam import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane

SLICES, CLICKS = 4, 3
SMALLEST = 12
"""Pixels of an object that is worth a click."""


@dataclass(frozen=True, eq=False)
class Object:
    """One thing that somebody wants outlined on one slice."""

    name: str
    plane: Plane
    target: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def draw_objects(
    reading: Reading, spec: ImageSpec, labels: Sequence[str], whole: str, slices: int = SLICES
) -> Iterator[Object]:
    """Yield, of evenly spaced slices, everything together and one of the labels in turn; the same at every call.

    Args:
        reading: A case with its label.
        spec: How it was read.
        labels: Names of the values 1, 2, ...
        whole: What they are together.
        slices: How many.
    """
    assert reading.label is not None, "only cases with a label are judged"
    marks = reading.label.numpy()
    inside = (marks > 0) & (marks != IGNORE)
    there = np.flatnonzero(inside.sum((0, 1)) >= SMALLEST)
    chosen = there[np.linspace(0, len(there) - 1, slices + 2)[1:-1].round().astype(int)] if len(there) else there
    for turn, index in enumerate(dict.fromkeys(chosen.tolist())):
        plane = Plane(window(reading.hu[0, :, :, index].clone(), spec.window_hu), spec.spacing_mm[:2], index)
        valid = marks[..., index] != IGNORE
        yield Object(whole, plane, inside[..., index], valid)
        values = [v for v in range(1, len(labels) + 1) if (marks[..., index] == v).sum() >= SMALLEST]
        if len(values) > 1:
            value = values[turn % len(values)]
            yield Object(labels[value - 1], plane, marks[..., index] == value, valid)


def converse(predictor: ClickPredictor, thing: Object, most: int = CLICKS) -> tuple[Session, list[Answer]]:
    """Return how an annotator fares with an object, and the answer to every click."""
    answers: list[Answer] = []

    def answer(clicks: Sequence[Click]) -> NDArray[np.bool_]:
        answers.append(predictor.answer(thing.plane, as_clicks(clicks)))
        return answers[-1].mask.numpy()

    return annotate(answer, thing.target, most=most, valid=thing.valid), answers


def as_clicks(clicks: Sequence[Click]) -> Clicks:
    """Return an annotator's clicks as the predictor takes them."""
    on, beside = ([(float(c.row), float(c.column)) for c in clicks if c.foreground is side] for side in (True, False))
    return Clicks(tuple(on), tuple(beside))


class Kept(dict[Any, Any]):
    """Embeddings of one case, for as long as it is judged."""

    def keep(self, key: Any, make: Any) -> Any:
        """Return what is kept under a key, or make it."""
        if key not in self:
            self[key] = make()
        return self[key]


class ClickValidation:
    """Judge a network on held-out cases, the cases shared out among the processes.

    Args:
        cases: Cases with labels.
        spec: How images are read.
        labels: Names of the classes 1, 2, ...
        whole: What they are together.
    Raises:
        ValueError: If a case has no label.
    """

    def __init__(self, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str], whole: str) -> None:
        if bare := [case.id for case in cases if case.label is None]:
            raise ValueError(f"cases without a label cannot be judged: {', '.join(bare)}")
        self.cases, self.spec, self.labels, self.whole = list(cases), spec, tuple(labels), whole

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return the Dice after three clicks of every case, the same list in every process."""
        assert isinstance(network, PromptedNetwork), "clicks are for prompted networks"
        scores: list[CaseScore] = []
        for case in self.cases[ranks.rank :: ranks.world]:
            found: dict[str, list[float]] = {}
            predictor = ClickPredictor(network, device=ranks.device, keep=Kept().keep)
            for thing in draw_objects(read(case.image, self.spec, case.label), self.spec, self.labels, self.whole):
                found.setdefault(thing.name, []).append(converse(predictor, thing)[0].after(CLICKS))
            scores.append({"case": case.id, "scores": class_dice(found, (self.whole, *self.labels))})
        return sorted(ranks.gather(scores), key=lambda score: score["case"])


def class_dice(found: dict[str, list[float]], names: Sequence[str]) -> dict[str, float | None]:
    """Return the mean of every class that something was found of, None for the others."""
    known = {name: [value for value in found.get(name, ()) if not math.isnan(value)] for name in names}
    return {name: fmean(values) if values else None for name, values in known.items()}
