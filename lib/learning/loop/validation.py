"""Judge a network case by case: whole-volume inference, Dice per class."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec, read, window
from lib.evaluation.metrics.overlap import dice
from lib.learning.loop.ranks import Ranks
from lib.models.inference.predictor import Predictor

CaseScore = dict[str, Any]
Judge = Callable[[nn.Module, Ranks], list[CaseScore]]


def case_dice(prediction: np.ndarray, reference: np.ndarray, labels: Sequence[str]) -> dict[str, float | None]:
    """Return the Dice of each class over the voxels that are not ignored.

    Args:
        prediction: Labels, ``(*S)``.
        reference: Labels, ``(*S)``; 255 is ignored.
        labels: Names of the classes 1, 2, ...
    Returns:
        Dice by name; None where neither has the class.
    """
    valid = reference != IGNORE
    scores = {
        name: dice((prediction == index) & valid, reference == index) for index, name in enumerate(labels, start=1)
    }
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def mean_score(cases: Sequence[CaseScore]) -> float:
    """Return the mean over cases of the mean over their classes; nan where nothing was scored."""
    means = [np.mean(found) for case in cases if (found := [v for v in case["scores"].values() if v is not None])]
    return float(np.mean(means)) if means else math.nan


def class_means(cases: Sequence[CaseScore]) -> dict[str, float]:
    """Return the mean Dice of every class that some case scored."""
    names = dict.fromkeys(name for case in cases for name in case["scores"])
    found = {name: [case["scores"][name] for case in cases if case["scores"].get(name) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in found.items() if values}


class Validation:
    """Judge a network on held-out cases, the cases shared out among the processes.

    Args:
        cases: Cases with labels.
        spec: How images are read.
        labels: Names of the classes 1, 2, ...
    Raises:
        ValueError: If a case has no label.
    """

    def __init__(self, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str]) -> None:
        bare = [case.id for case in cases if case.label is None]
        if bare:
            raise ValueError(f"cases without a label cannot be judged: {', '.join(bare)}")
        self.cases, self.spec, self.labels = list(cases), spec, tuple(labels)

    def __call__(self, network: nn.Module, ranks: Ranks) -> list[CaseScore]:
        """Return one score per case, the same list in every process."""
        predictor = Predictor(
            network, roi=self.spec.roi, slice_offsets=self.spec.slice_offsets, device=str(ranks.device)
        )
        mine = self.cases[ranks.rank :: ranks.world]
        scores: list[CaseScore] = []
        evaluator = Engine(lambda _, case: scores.append(self._judge(predictor, case)))
        if mine:
            evaluator.run(mine, max_epochs=1)
        return sorted(ranks.gather(scores), key=lambda score: score["case"])

    @torch.no_grad()
    def _judge(self, predictor: Predictor, case: Case) -> CaseScore:
        reading = read(case.image, self.spec, label=case.label)
        assert reading.label is not None, "read returns the label it was given"
        prediction = np.asarray(predictor.labels(window(reading.hu, self.spec.window_hu))).squeeze()
        return {"case": case.id, "scores": case_dice(prediction, np.asarray(reading.label).squeeze(), self.labels)}
