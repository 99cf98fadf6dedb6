"""Validate a prompted network with a simulated annotator that clicks on slices of validation cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.intensity import apply_scales
from lib.data.labels.coverage import covers
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read
from lib.evaluation.metrics.clicks import Click, Session, simulate_session
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import CaseScore
from lib.models.sam import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane

SLICES, CLICKS = 4, 3
MIN_OBJECT_PIXELS = 12
"""Fewest pixels of an object for which the annotator clicks."""


@dataclass(frozen=True, eq=False)
class ClickTarget:
    """One object on one slice that the simulated annotator wants to segment.

    Args:
        name: Name of the label, or of all labels together.
        plane: The slice as the network takes it, with its spacing.
        target: Mask of the object, bool ``(X, Y)``.
        valid: Pixels whose label is known, bool ``(X, Y)``.
    """

    name: str
    plane: Plane
    target: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def select_click_targets(
    reading: Reading,
    spec: ImageSpec,
    labels: Sequence[str],
    whole: str,
    slices: int = SLICES,
    covered: Sequence[str] | None = None,
) -> Iterator[ClickTarget]:
    """Yield the objects of evenly spaced slices: per slice all labels together, then one single label.

    The single label changes from slice to slice. The objects are the same at every call.

    Args:
        reading: A case with its label.
        spec: Grid, window and patch size with which the case was read.
        labels: Names of the label values 1, 2, ...
        whole: Name of all labels together.
        slices: Number of slices.
        covered: Names of the labels that the label covers, None for all. Otherwise the extent of all labels together
            is not known, and only single labels are yielded.
    """
    complete = all(covers(covered, labels))
    assert reading.label is not None, "validation cases have labels"
    marks = reading.label.numpy()
    inside = (marks > 0) & (marks != IGNORE)
    indices = np.flatnonzero(inside.sum((0, 1)) >= MIN_OBJECT_PIXELS)
    chosen = (
        indices[np.linspace(0, len(indices) - 1, slices + 2)[1:-1].round().astype(int)] if len(indices) else indices
    )
    for turn, index in enumerate(dict.fromkeys(chosen.tolist())):
        image = apply_scales(reading.intensities[..., index], reading.scales)
        plane = Plane(image, spec.spacing_mm[:2], index)
        valid = marks[..., index] != IGNORE
        if complete:
            yield ClickTarget(whole, plane, inside[..., index], valid)
        values = [v for v in range(1, len(labels) + 1) if (marks[..., index] == v).sum() >= MIN_OBJECT_PIXELS]
        if len(values) > 1 or (values and not complete):
            value = values[turn % len(values)]
            yield ClickTarget(labels[value - 1], plane, marks[..., index] == value, valid)


def run_click_session(
    predictor: ClickPredictor, click_target: ClickTarget, max_clicks: int = CLICKS
) -> tuple[Session, list[Answer]]:
    """Click on an object until its mask is right or `max_clicks` are used.

    Returns:
        The session (clicks and scores) and the predictor's answer to every click.
    """
    answers: list[Answer] = []

    def answer(clicks: Sequence[Click]) -> NDArray[np.bool_]:
        answers.append(predictor.predict(click_target.plane, to_predictor_clicks(clicks)))
        return answers[-1].mask.numpy()

    return simulate_session(answer, click_target.target, max_clicks=max_clicks, valid=click_target.valid), answers


def to_predictor_clicks(clicks: Sequence[Click]) -> Clicks:
    """Return an annotator's clicks in the format of the predictor."""
    foreground, background = (
        [(float(click.row), float(click.column)) for click in clicks if click.foreground is side]
        for side in (True, False)
    )
    return Clicks(tuple(foreground), tuple(background))


class CaseEmbeddings(dict[Any, Any]):
    """Cache of the embeddings of one case during its validation."""

    def get_or_make(self, key: Any, make: Any) -> Any:
        """Return the cached value of `key`; compute it with `make()` if it is absent."""
        if key not in self:
            self[key] = make()
        return self[key]


def case_predictor(network: PromptedNetwork, spec: ImageSpec, device: str | torch.device) -> ClickPredictor:
    """Return a predictor for one case, whose embeddings are cached."""
    cache = CaseEmbeddings().get_or_make
    return ClickPredictor(network, device=device, cache=cache, first_side_mm=spec.patch_side_mm)


class ClickValidation:
    """Score a prompted network on validation cases, which are divided among the training processes.

    Args:
        cases: Validation cases with labels.
        spec: Grid, window and patch size with which images are read.
        labels: Names of the classes 1, 2, ...
        whole: Name of all classes together.
    Raises:
        ValueError: If a case has no label.
    """

    def __init__(self, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str], whole: str) -> None:
        if unlabelled := [case.id for case in cases if case.label is None]:
            raise ValueError(f"validation cases without a label: {', '.join(unlabelled)}; label them or leave them out")
        self.cases, self.spec, self.labels, self.whole = list(cases), spec, tuple(labels), whole

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return for every case the Dice after `CLICKS` clicks; every process returns the same list."""
        assert isinstance(network, PromptedNetwork), "click validation needs a prompted network"
        scores: list[CaseScore] = []
        for case in self.cases[ranks.rank :: ranks.world]:
            dice_by_name: dict[str, list[float]] = {}
            predictor = case_predictor(network, self.spec, ranks.device)
            reading = read(case.image, self.spec, case.label)
            for click_target in select_click_targets(reading, self.spec, self.labels, self.whole, covered=case.covered):
                dice_by_name.setdefault(click_target.name, []).append(
                    run_click_session(predictor, click_target)[0].dice_after(CLICKS)
                )
            scores.append({"case": case.id, "scores": mean_dice_by_class(dice_by_name, (self.whole, *self.labels))})
        return sorted(ranks.gather(scores), key=lambda score: score["case"])


def mean_dice_by_class(dice_by_name: dict[str, list[float]], names: Sequence[str]) -> dict[str, float | None]:
    """Return the mean Dice of every class, None for a class without a Dice value.

    Args:
        dice_by_name: Dice of the objects of every class; nan values are left out.
        names: Classes to return.
    """
    known = {name: [value for value in dice_by_name.get(name, ()) if not math.isnan(value)] for name in names}
    return {name: fmean(values) if values else None for name, values in known.items()}
