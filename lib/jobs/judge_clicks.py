"""Judge a version that answers clicks: compute the scores for the gate after three simulated clicks."""

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
from lib.jobs.gate import JudgedCase
from lib.learning.click_validation import (
    CLICKS,
    case_predictor,
    mean_dice_by_class,
    run_click_session,
    select_click_targets,
)
from lib.models.sam import PromptedNetwork
from lib.models.weights import find_nonfinite_weight


def judge_clicks(
    network: nn.Module,
    cases: Sequence[Case],
    spec: ImageSpec,
    labels: Sequence[str],
    whole: str,
    *,
    tubular: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> list[JudgedCase]:
    """Return the Dice of a network on labelled cases after three clicks, for each label and for their union.

    Args:
        network: A `PromptedNetwork`; its mode and weights are kept.
        cases: Cases with labels.
        spec: Image specification of the task.
        labels: Names of the classes 1, 2, ...
        whole: Name of the union of all labels, and of its score.
        tubular: Names of the tubular classes. The union has a clDice if it consists of them only; otherwise these
            classes have.
        device: Device that the network runs on.
    """
    ordered, names = sorted(cases, key=lambda case: case.id), (whole, *labels)
    if find_nonfinite_weight(network.state_dict()):
        zeros = dict.fromkeys(names, 0.0)
        worst = 0.0 if tubular else None
        return [JudgedCase(case=c.id, patient=c.patient, scores=zeros, cl_dice=worst, finite=False) for c in ordered]
    assert isinstance(network, PromptedNetwork), "only a prompted network answers clicks"
    tubes = (whole,) if set(tubular) == set(labels) else tuple(tubular)
    return [_judge(network, case, spec, names, tubes, device) for case in ordered]


def _judge(
    network: PromptedNetwork,
    case: Case,
    spec: ImageSpec,
    names: Sequence[str],
    tubes: Sequence[str],
    device: str | torch.device,
) -> JudgedCase:
    """Return the scores of one case; `names` are the union and the labels, `tubes` those of them with a clDice."""
    reading, (whole, *labels) = read(case.image, spec, label=case.label), names
    dices: dict[str, list[float]] = {}
    cl_dices, finite, constant, began = [], True, [], time.perf_counter()
    try:
        predictor = case_predictor(network, spec, device)
        for thing in select_click_targets(reading, spec, labels, whole, covered=case.covered):
            session, answers = run_click_session(predictor, thing)
            mask = answers[-1].mask.numpy()
            finite = finite and all(bool(answer.window.isfinite().all()) for answer in answers)
            dices.setdefault(thing.name, []).append(session.dice_after(CLICKS))
            constant.append(len(np.unique(mask)) == 1)
            if thing.name in tubes:
                cl_dices.append(cl_dice(mask & thing.valid, thing.target & thing.valid))
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the fault of the machine, not of the version
    except Exception as error:
        zeros, fault = dict.fromkeys(names, 0.0), f"{type(error).__name__}: {error}"
        worst = 0.0 if tubes else None
        return JudgedCase(case=case.id, patient=case.patient, scores=zeros, cl_dice=worst, fault=fault)
    return JudgedCase(
        case=case.id,
        patient=case.patient,
        scores=mean_dice_by_class(dices, names),
        cl_dice=fmean(cl_dices) if cl_dices else None,
        finite=finite,
        constant=bool(constant) and all(constant),
        seconds=time.perf_counter() - began,
    )
