"""Validate a segmentation network: whole-volume inference and Dice per class for every case."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.labels.coverage import covers
from lib.data.pipeline import IGNORE, ImageSpec, read
from lib.evaluation.metrics.overlap import dice
from lib.learning.loop.ranks import Ranks
from lib.models.inference.predictor import Predictor

CaseScore = dict[str, Any]
"""Scores of one case: ``{"case": name, "scores": {class: value or None}}``."""
ValidationFunction = Callable[[nn.Module, Ranks], list[CaseScore]]
"""Scores a network on the validation cases and returns the same list in every process."""


def case_dice(
    prediction: np.ndarray, reference: np.ndarray, labels: Sequence[str], covered: Sequence[str] | None = None
) -> dict[str, float | None]:
    """Return the Dice of each class over the voxels that are not ignored.

    Args:
        prediction: Predicted labels, ``(*S)``.
        reference: True labels, ``(*S)``; 255 is ignored.
        labels: Names of the classes 1, 2, ...
        covered: Names of the classes that the reference covers; None for all.
    Returns:
        Dice by class name; None if neither prediction nor reference has the class, or the reference does not cover it.
    """
    valid = reference != IGNORE
    scores = {
        name: dice((prediction == index) & valid, reference == index) for index, name in enumerate(labels, start=1)
    }
    known = dict(zip(labels, covers(covered, labels), strict=True))
    return {name: None if math.isnan(score) or not known[name] else score for name, score in scores.items()}


def mean_score(cases: Sequence[CaseScore]) -> float:
    """Return the mean over cases of the mean over their classes; nan if no case has a score."""
    means = [np.mean(values) for case in cases if (values := [v for v in case["scores"].values() if v is not None])]
    return float(np.mean(means)) if means else math.nan


def class_means(cases: Sequence[CaseScore]) -> dict[str, float]:
    """Return the mean Dice of every class that has a score in at least one case."""
    names = dict.fromkeys(name for case in cases for name in case["scores"])
    by_class = {n: [case["scores"][n] for case in cases if case["scores"].get(n) is not None] for n in names}
    return {name: float(np.mean(values)) for name, values in by_class.items() if values}


class Validation:
    """Score a network on validation cases, which are divided among the training processes.

    Args:
        cases: Validation cases with labels.
        spec: Grid, window and patch size with which images are read.
        labels: Names of the classes 1, 2, ...
    Raises:
        ValueError: If a case has no label.
    """

    def __init__(self, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str]) -> None:
        unlabelled = [case.id for case in cases if case.label is None]
        if unlabelled:
            raise ValueError(f"validation cases without a label: {', '.join(unlabelled)}; label them or leave them out")
        self.cases, self.spec, self.labels = list(cases), spec, tuple(labels)

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return the scores of every case; every process returns the same list."""
        predictor = Predictor(
            network, roi=self.spec.roi, slice_offsets=self.spec.slice_offsets, device=str(ranks.device)
        )
        own_cases = self.cases[ranks.rank :: ranks.world]
        scores: list[CaseScore] = []
        from ignite.engine import Engine

        evaluator = Engine(lambda _, case: scores.append(self._score(predictor, case)))
        if own_cases:
            evaluator.run(own_cases, max_epochs=1)
        return sorted(ranks.gather(scores), key=lambda score: score["case"])

    @torch.no_grad()
    def _score(self, predictor: Predictor, case: Case) -> CaseScore:
        reading = read(case.image, self.spec, label=case.label)
        assert reading.label is not None, "read returns the label that it gets"
        prediction = np.asarray(predictor.labels(reading.normalised())).squeeze()
        reference = np.asarray(reading.label).squeeze()
        return {"case": case.id, "scores": case_dice(prediction, reference, self.labels, case.covered)}
