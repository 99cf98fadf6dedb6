"""Judge a version on whole cases: the scores the gate compares, and what its canary looks at, in one pass."""

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec, read, window
from lib.evaluation.metrics.overlap import dice
from lib.evaluation.metrics.topology import cl_dice
from lib.jobs.gate import Judged
from lib.models.inference.predictor import Predictor
from lib.ops.resample import running_argmax


def judge(
    network: nn.Module,
    cases: Sequence[Case],
    spec: ImageSpec,
    labels: Sequence[str],
    *,
    device: str | torch.device = "cpu",
) -> list[Judged]:
    """Return how a network does on labelled cases, by name.

    Args:
        network: In evaluation mode or not; it is left as it was.
        cases: Cases with labels.
        spec: How images are read.
        labels: Names of the classes 1, 2, ...
        device: Where the network runs.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    if broken_weight(network.state_dict()):
        # Run, it might as well stop the device as give an answer.
        lost = dict.fromkeys(labels, 0.0)
        return [Judged(case=c.id, patient=c.patient, scores=lost, cl_dice=0.0, finite=False) for c in ordered]
    predictor = Predictor(network, roi=spec.roi, slice_offsets=spec.slice_offsets, device=device)
    return [_judge(predictor, case, spec, labels) for case in ordered]


def broken_weight(state: Mapping[str, torch.Tensor]) -> str:
    """Return the name of a weight that holds values that are no numbers; empty if there is none."""
    return next((name for name, value in state.items() if not torch.isfinite(value).all()), "")


def _judge(predictor: Predictor, case: Case, spec: ImageSpec, labels: Sequence[str]) -> Judged:
    reading = read(case.image, spec, label=case.label)
    assert reading.label is not None, "only cases with a label are judged"
    reference, volume = np.asarray(reading.label).squeeze(), window(reading.hu, spec.window_hu)
    began = time.perf_counter()
    try:
        prediction, finite = _predict(predictor, volume)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the machine's fault and not the version's
    except Exception as error:
        lost, fault = dict.fromkeys(labels, 0.0), f"{type(error).__name__}: {error}"
        return Judged(case=case.id, patient=case.patient, scores=lost, cl_dice=0.0, fault=fault)
    seconds = time.perf_counter() - began
    valid = reference != IGNORE
    truth = np.where(valid, reference, 0)
    prediction = np.where(valid, prediction.squeeze(), 0)
    scores = {name: dice(prediction == value, truth == value) for value, name in enumerate(labels, start=1)}
    return Judged(
        case=case.id,
        patient=case.patient,
        scores={name: _or_none(score) for name, score in scores.items()},
        cl_dice=_cl_dice(prediction > 0, truth > 0),
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


def _cl_dice(prediction: np.ndarray, truth: np.ndarray) -> float | None:
    if not prediction.any() and not truth.any():
        return None
    # A mask that fills its box may have no skeleton at all, and then no score: that is worth nothing, not "unknown".
    score = cl_dice(prediction, truth)
    return 0.0 if math.isnan(score) else score


def _or_none(score: float) -> float | None:
    return None if math.isnan(score) else float(score)
