"""Set the background's level to where the held-out cases have the best Dice.

Soft Dice over a batch rewards finding more than is there: a trained network draws thin passages a little too wide. One
number, added to the background's logit, takes that back; it is chosen on held-out cases and folded into the bias of the
last layer, so that nothing else has to know of it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec, read, window
from lib.learning.loop.validation import CaseScore
from lib.models.inference.predictor import Predictor
from lib.ops.resample import running_argmax

logger = logging.getLogger(__name__)

SHIFTS = np.arange(-10, 21) / 10
"""Shifts of the background's logit that are compared; 0 is one of them."""


@dataclass(frozen=True)
class Calibration:
    """What was chosen.

    Args:
        shift: Added to the background's logit.
        score: Mean Dice of the held-out cases with it, as `mean_score` has it.
        metrics: One ``{"case", "scores": {class: Dice or None}}`` per case with it.
    """

    shift: float
    score: float
    metrics: list[CaseScore]


def calibrate(
    network: nn.Module,
    cases: Sequence[Case],
    spec: ImageSpec,
    labels: Sequence[str],
    *,
    device: str | torch.device = "cpu",
) -> Calibration | None:
    """Choose the shift on held-out cases and fold it into the network.

    Args:
        network: Changed in place; its `classifier` is the layer that makes the logits.
        cases: Held-out cases with labels.
        spec: How images are read.
        labels: Names of the classes 1, 2, ...
        device: Where the network runs.
    Returns:
        What was chosen; None, and nothing changed, where the network has no `classifier` with a bias or no case scores.
    """
    bias = getattr(getattr(network, "classifier", None), "bias", None)
    if bias is None:
        return None
    predictor = Predictor(network, roi=spec.roi, slice_offsets=spec.slice_offsets, device=device)
    ordered = sorted(cases, key=lambda case: case.id)
    tables = [_dice_by_shift(predictor, case, spec, len(labels)) for case in ordered]
    scored = [np.nanmean(table, axis=0) for table in tables if not np.isnan(table).all(axis=0).any()]
    if not scored:
        return None
    means = np.mean(scored, axis=0)
    nearest_first = np.argsort(np.abs(SHIFTS), kind="stable")
    best = int(nearest_first[np.argmax(means[nearest_first])])
    with torch.no_grad():
        bias[0] += float(SHIFTS[best])
    zero = int(nearest_first[0])
    logger.info("background shifted by %.1f: mean Dice %.4f, %.4f before", SHIFTS[best], means[best], means[zero])
    metrics = [
        {"case": case.id, "scores": {name: _or_none(row[best]) for name, row in zip(labels, table, strict=True)}}
        for case, table in zip(ordered, tables, strict=True)
    ]
    return Calibration(float(SHIFTS[best]), float(means[best]), metrics)


@torch.no_grad()
def _dice_by_shift(predictor: Predictor, case: Case, spec: ImageSpec, classes: int) -> NDArray[np.float64]:
    """Return the Dice of every class at every shift, ``(classes, shifts)``, in one pass; nan where nobody has it."""
    reading = read(case.image, spec, label=case.label)
    assert reading.label is not None, "only cases with a label are held out"
    levels, bins = torch.from_numpy(SHIFTS).float(), len(SHIFTS) + 1
    found, hits = (torch.zeros(classes * bins, dtype=torch.int64) for _ in range(2))
    for start, logits in predictor.slabs(window(reading.hu, spec.window_hu)):
        reference = reading.label[..., start : start + logits.shape[-1]]
        valid = reference != IGNORE
        best = running_argmax(logits[1:])
        # A voxel is foreground at every shift below its margin.
        margin = torch.bucketize(logits[1:].amax(0) - logits[0], levels)
        key = best.long() * bins + margin
        found += torch.bincount(key[valid], minlength=classes * bins)
        hits += torch.bincount(key[valid & (reference == best + 1)], minlength=classes * bins)
    there = torch.bincount(reading.label.flatten().long(), minlength=IGNORE + 1)[1 : classes + 1, None]
    found, hits = (_above(each.view(classes, bins)) for each in (found, hits))
    return (2 * hits / (found + there)).double().numpy()


def _above(counts: torch.Tensor) -> torch.Tensor:
    """Return, for each shift, how many voxels have a margin above it."""
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
