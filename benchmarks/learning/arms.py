"""One arm of an accuracy benchmark: train a network, and judge it on held-out cases."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec, read
from lib.evaluation.report import evaluate_case
from lib.learning.loop import train
from lib.learning.recipes.finetune import Finetune
from lib.models import BUILDERS
from lib.models.inference.predictor import Predictor


def build(model: str, spec: ImageSpec, labels: Sequence[str], seed: int, **options: Any) -> nn.Module:
    """Return a network for the preprocessing `spec`, with random weights from `seed`."""
    torch.manual_seed(seed)
    channels = spec.channel_count * len(spec.slice_offsets)
    return BUILDERS[model](spatial_dims=len(spec.roi), in_channels=channels, out_channels=len(labels) + 1, **options)


def run_arm(
    network: nn.Module, recipe: Finetune, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str], workdir: Path
) -> dict[str, Any]:
    """Train a network in place; return the numbers of steps, minutes and parameters."""
    result = train(recipe, network, cases, [], spec=spec, labels=labels, workdir=workdir, resume=False, track=False)
    network.load_state_dict(result.state_dict)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"steps": result.steps, "minutes": result.seconds / 60, "parameters": parameters}


def judge(network: nn.Module, cases: Sequence[Case], spec: ImageSpec, labels: Sequence[str]) -> dict[str, Any]:
    """Return the scores of every case on the grid of the preprocessing, by case id, and the seconds per case."""
    predictor = Predictor(network.eval(), roi=spec.roi, slice_offsets=spec.slice_offsets)
    values = {name: value for value, name in enumerate(labels, start=1)}
    scores, start = {}, time.perf_counter()
    for case in cases:
        reading = read(case.image, spec, case.label)
        assert reading.label is not None
        found = predictor.labels(reading.normalised())
        scores[case.id] = evaluate_case(
            np.asarray(found), np.asarray(reading.label).reshape(found.shape), spec.spacing_mm, values
        )
    return {"cases": scores, "seconds_per_case": (time.perf_counter() - start) / len(cases)}
