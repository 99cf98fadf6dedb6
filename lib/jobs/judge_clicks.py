"""Judge a version that answers clicks: what the gate compares is what an annotator gets after three of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec, read
from lib.evaluation.metrics.topology import cl_dice
from lib.jobs.gate import Judged
from lib.jobs.judge import broken_weight
from lib.learning.click_validation import CLICKS, Kept, class_dice, converse, draw_objects
from lib.models.sam import PromptedNetwork
from lib.models.sam.predictor import ClickPredictor


def judge_clicks(
    network: nn.Module,
    cases: Sequence[Case],
    spec: ImageSpec,
    labels: Sequence[str],
    whole: str,
    *,
    device: str | torch.device = "cpu",
) -> list[Judged]:
    """Return how a network does on labelled cases: Dice after three clicks, of all labels together and of each.

    Args:
        network: A `PromptedNetwork`; left as it was.
        cases: Cases with labels.
        spec: How images are read.
        labels: Names of the classes 1, 2, ...
        whole: What they are together, and the name of its score.
        device: Where the network runs.
    """
    ordered, names = sorted(cases, key=lambda case: case.id), (whole, *labels)
    if broken_weight(network.state_dict()):
        lost = dict.fromkeys(names, 0.0)
        return [Judged(case=c.id, patient=c.patient, scores=lost, cl_dice=0.0, finite=False) for c in ordered]
    assert isinstance(network, PromptedNetwork), "clicks are for prompted networks"
    return [_judge(network, case, spec, labels, whole, device) for case in ordered]


def _judge(
    network: PromptedNetwork, case: Case, spec: ImageSpec, labels: Sequence[str], whole: str, device: str | torch.device
) -> Judged:
    reading, names = read(case.image, spec, label=case.label), (whole, *labels)
    found: dict[str, list[float]] = {}
    lines, finite, constant, began = [], True, [], time.perf_counter()
    try:
        predictor = ClickPredictor(network, device=device, keep=Kept().keep)
        for thing in draw_objects(reading, spec, labels, whole):
            session, answers = converse(predictor, thing)
            mask = answers[-1].mask.numpy()
            finite = finite and all(bool(answer.window.isfinite().all()) for answer in answers)
            found.setdefault(thing.name, []).append(session.after(CLICKS))
            constant.append(len(np.unique(mask)) == 1)
            if thing.name == whole:
                lines.append(cl_dice(mask & thing.valid, thing.target & thing.valid))
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the machine's fault and not the version's
    except Exception as error:
        lost, fault = dict.fromkeys(names, 0.0), f"{type(error).__name__}: {error}"
        return Judged(case=case.id, patient=case.patient, scores=lost, cl_dice=0.0, fault=fault)
    return Judged(
        case=case.id,
        patient=case.patient,
        scores=class_dice(found, names),
        cl_dice=fmean(0.0 if np.isnan(line) else line for line in lines) if lines else None,
        finite=finite,
        constant=bool(constant) and all(constant),
        seconds=time.perf_counter() - began,
    )
