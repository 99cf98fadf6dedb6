"""Calibrate the background logit: choose the shift that gives the best Dice on the validation cases.

A network that is trained with soft Dice over a batch oversegments: it draws thin passages slightly too wide. A constant
that is added to the background logit corrects this. The constant is chosen on the validation cases and added to the
bias of the last layer, so inference code needs no change.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.labels.coverage import covers
from lib.data.pipeline import IGNORE, ImageSpec, read
from lib.learning.loop.validation import CaseScore
from lib.models.inference.predictor import Predictor
from lib.ops.resample import running_argmax

logger = logging.getLogger(__name__)

SHIFTS = np.arange(-10, 21) / 10
"""Candidate shifts of the background logit, -1.0 to 2.0 in steps of 0.1; 0 is one of them."""


@dataclass(frozen=True)
class Calibration:
    """The chosen shift and its scores on the validation cases.

    Args:
        shift: Constant that was added to the background logit.
        score: Mean Dice of the validation cases with this shift, computed as `mean_score` does.
        metrics: One ``{"case", "scores": {class: Dice or None}}`` per validation case with this shift.
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
    """Choose the shift on the validation cases and add it to the network's bias.

    Args:
        network: Changed in place; its `classifier` is the layer that computes the logits.
        cases: Validation cases with labels.
        spec: Grid, window and patch size with which images are read.
        labels: Names of the classes 1, 2, ...
        device: Device on which the network runs.
    Returns:
        The chosen shift. None if the network has no `classifier` with a bias, or if no case can be scored; the network
        is then unchanged.
    """
    bias = getattr(getattr(network, "classifier", None), "bias", None)
    if bias is None:
        return None
    predictor = Predictor(network, roi=spec.roi, slice_offsets=spec.slice_offsets, device=device)
    ordered = sorted(cases, key=lambda case: case.id)
    tables = [_dice_by_shift(predictor, case, spec, labels) for case in ordered]
    scored = [np.nanmean(table, axis=0) for table in tables if not np.isnan(table).all(axis=0).any()]
    if not scored:
        return None
    means = np.mean(scored, axis=0)
    nearest_first = np.argsort(np.abs(SHIFTS), kind="stable")
    best = int(nearest_first[np.argmax(means[nearest_first])])
    with torch.no_grad():
        bias[0] += float(SHIFTS[best])
    zero = int(nearest_first[0])
    logger.info("background logit shifted by %.1f: mean Dice %.4f, before %.4f", SHIFTS[best], means[best], means[zero])
    metrics = [
        {"case": case.id, "scores": {name: _none_if_nan(row[best]) for name, row in zip(labels, table, strict=True)}}
        for case, table in zip(ordered, tables, strict=True)
    ]
    return Calibration(float(SHIFTS[best]), float(means[best]), metrics)


@torch.no_grad()
def _dice_by_shift(predictor: Predictor, case: Case, spec: ImageSpec, labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the Dice of every class at every shift, ``(classes, shifts)``, from one pass of the network.

    The Dice is nan where neither the label nor the prediction has the class, and for classes that the label does not
    cover.
    """
    classes = len(labels)
    reading = read(case.image, spec, label=case.label)
    assert reading.label is not None, "validation cases have labels"
    levels, bins = torch.from_numpy(SHIFTS).float(), len(SHIFTS) + 1
    predicted, hits = (torch.zeros(classes * bins, dtype=torch.int64) for _ in range(2))
    for start, logits in predictor.slabs(reading.normalised()):
        reference = reading.label[..., start : start + logits.shape[-1]]
        valid = reference != IGNORE
        best = running_argmax(logits[1:])
        # A voxel is foreground at every shift below its margin (best foreground logit minus background logit).
        margin = torch.bucketize(logits[1:].amax(0) - logits[0], levels)
        key = best.long() * bins + margin
        predicted += torch.bincount(key[valid], minlength=classes * bins)
        hits += torch.bincount(key[valid & (reference == best + 1)], minlength=classes * bins)
    in_label = torch.bincount(reading.label.flatten().long(), minlength=IGNORE + 1)[1 : classes + 1, None]
    predicted, hits = (_count_above(counts.view(classes, bins)) for counts in (predicted, hits))
    table = (2 * hits / (predicted + in_label)).double().numpy()
    table[~np.array(covers(case.covered, labels))] = np.nan
    return table


def _count_above(counts: torch.Tensor) -> torch.Tensor:
    """Return for each shift the number of voxels whose margin is above it, ``(classes, shifts)``."""
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
