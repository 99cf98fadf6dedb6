"""Judge a version on whole cases: compute the scores and the canary facts for the gate in one pass."""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.labels.coverage import covers
from lib.data.pipeline import IGNORE, ImageSpec, read
from lib.evaluation.metrics.overlap import dice
from lib.evaluation.metrics.topology import cl_dice
from lib.jobs.gate import JudgedCase
from lib.models.inference.predictor import Predictor
from lib.models.weights import find_nonfinite_weight
from lib.ops.resample import running_argmax


def judge(
    network: nn.Module,
    cases: Sequence[Case],
    spec: ImageSpec,
    labels: Sequence[str],
    *,
    tubular: Sequence[str] = (),
    device: str | torch.device = "cpu",
) -> list[JudgedCase]:
    """Return the scores of a network on labelled cases, sorted by case name.

    A class that the label of a case does not cover has no score there, and is no part of the clDice.

    Args:
        network: Segmentation network, in any mode; its mode is kept.
        cases: Cases with labels.
        spec: Image specification of the task: spacing, window and patch size.
        labels: Names of the classes 1, 2, ...
        tubular: Names of the tubular classes, whose union has a clDice.
        device: Device that the network runs on.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    if find_nonfinite_weight(network.state_dict()):
        # A network with such weights is not run: it could crash the device.
        zeros = dict.fromkeys(labels, 0.0)
        worst = 0.0 if tubular else None
        return [JudgedCase(case=c.id, patient=c.patient, scores=zeros, cl_dice=worst, finite=False) for c in ordered]
    predictor = Predictor(network, roi=spec.roi, slice_offsets=spec.slice_offsets, device=device)
    return [_judge(predictor, case, spec, labels, tubular) for case in ordered]


def _judge(
    predictor: Predictor, case: Case, spec: ImageSpec, labels: Sequence[str], tubular: Sequence[str]
) -> JudgedCase:
    reading = read(case.image, spec, label=case.label)
    assert reading.label is not None, "a judged case has a label"
    reference, volume = np.asarray(reading.label).squeeze(), reading.normalised()
    began = time.perf_counter()
    try:
        prediction, finite = _predict(predictor, volume)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the fault of the machine, not of the version
    except Exception as error:
        zeros, fault = dict.fromkeys(labels, 0.0), f"{type(error).__name__}: {error}"
        worst = 0.0 if tubular else None
        return JudgedCase(case=case.id, patient=case.patient, scores=zeros, cl_dice=worst, fault=fault)
    seconds = time.perf_counter() - began
    valid = reference != IGNORE
    truth = np.where(valid, reference, 0)
    prediction = np.where(valid, prediction.squeeze(), 0)
    known = dict(zip(labels, covers(case.covered, labels), strict=True))
    tubes = [value for value, name in enumerate(labels, start=1) if name in tubular and known[name]]
    scores = {
        name: dice(prediction == value, truth == value) if known[name] else math.nan
        for value, name in enumerate(labels, start=1)
    }
    return JudgedCase(
        case=case.id,
        patient=case.patient,
        scores={name: _none_if_nan(score) for name, score in scores.items()},
        cl_dice=_none_if_nan(cl_dice(np.isin(prediction, tubes), np.isin(truth, tubes))),
        finite=finite,
        constant=len(np.unique(prediction[valid])) == 1 < len(np.unique(truth[valid])),
        seconds=seconds,
    )


def _predict(predictor: Predictor, volume: torch.Tensor) -> tuple[np.ndarray, bool]:
    label, finite = torch.zeros(volume.shape[1:], dtype=torch.uint8), True
    for start, logits in predictor.slabs(volume):
        finite = finite and bool(torch.isfinite(logits).all())
        label[..., start : start + logits.shape[-1]] = running_argmax(logits)
    return label.numpy(), finite


def _none_if_nan(score: float) -> float | None:
    return None if math.isnan(score) else float(score)
