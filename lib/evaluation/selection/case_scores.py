"""Compute the scores of one case by which strategies rank cases, for the union of the classes and for each class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.evaluation.metrics.volume import volume_ml
from lib.evaluation.selection.topological_uncertainty import betti_disagreement, centreline_disagreement, fragility
from lib.evaluation.selection.uncertainty import Mask, SampleSummary, region, top_mean

LEVELS = 255
Scores = dict[str, float | None]


@dataclass(frozen=True, eq=False)
class UncertaintyMaps:
    """Summary of T predictions for a whole volume, in ``T + 6`` bytes per voxel; see `SampleSummary`.

    Args:
        entropy: Entropy of the mean prediction in nats, float16, ``(X, Y, Z)``.
        information: Mutual information in nats, float16, ``(X, Y, Z)``.
        foreground: Mean foreground probability, uint8, ``(X, Y, Z)``, 255 for a probability of 1.
        label: Class of the mean prediction, uint8, ``(X, Y, Z)``.
        labels: Class of each prediction, uint8, ``(T, X, Y, Z)``.
    """

    entropy: npt.NDArray[np.float16]
    information: npt.NDArray[np.float16]
    foreground: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    @classmethod
    def empty(cls, samples: int, shape: Sequence[int]) -> "UncertaintyMaps":
        """Return maps of zeros for `samples` predictions; `fill` fills them."""
        floats, bytes_ = (lambda: np.zeros(shape, np.float16)), (lambda: np.zeros(shape, np.uint8))
        return cls(floats(), floats(), bytes_(), bytes_(), np.zeros((samples, *shape), np.uint8))

    def fill(self, start: int, summary: SampleSummary) -> None:
        """Copy the summary of one slab (a block of slices along the last axis) into the maps of the whole volume.

        Args:
            start: Index of the first slice.
            summary: Summary of the slab, ``(X, Y, n)`` for n slices.
        """
        slices = slice(start, start + summary.label.shape[-1])
        self.entropy[..., slices] = summary.entropy.numpy()
        self.information[..., slices] = summary.information.numpy()
        self.foreground[..., slices] = (summary.foreground * LEVELS).round().byte().numpy()
        self.label[..., slices] = summary.label.numpy()
        self.labels[..., slices] = summary.labels.numpy()


def case_scores(
    maps: UncertaintyMaps, classes: Mapping[str, int], spacing_mm: Sequence[float], *, top_ml: float, margin_mm: float
) -> dict[str, Any]:
    """Return the scores of a case.

    Args:
        maps: Summary of several predictions for the case.
        classes: Value of each class, by name.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        top_ml: Volume in ml of the most uncertain voxels, over which the ``top`` scores average.
        margin_mm: Margin of the region of interest around the foreground of all predictions, in mm.
    Returns:
        ``{"all": scores, "classes": {name: scores}}``. The scores are ``volume_ml``; ``entropy`` and ``information``
        over ``top`` and ``roi``, in nats; the mean differences of two predictions in ``components`` (Betti numbers)
        and ``centreline`` (1 - clDice); and ``fragility`` for the union only. Each class has its own region of
        interest. A mean over an empty region is None.
    """
    union = _scores(maps, maps.label > 0, maps.labels > 0, spacing_mm, top_ml, margin_mm)
    # Voxels that all predictions miss may be uncertain as well, so the whole field of view counts for the union.
    for name in ("entropy", "information"):
        union[f"{name}_top"] = _none_if_nan(top_mean(getattr(maps, name), spacing_mm, top_ml))
    union["fragility"] = fragility(maps.foreground, full=LEVELS)
    return {
        "all": union,
        "classes": {
            name: _scores(maps, maps.label == value, maps.labels == value, spacing_mm, top_ml, margin_mm)
            for name, value in classes.items()
        },
    }


def _scores(
    maps: UncertaintyMaps, mask: Mask, masks: Mask, spacing_mm: Sequence[float], top_ml: float, margin_mm: float
) -> Scores:
    box, near = region(masks.any(axis=0), spacing_mm, margin_mm)
    scores: Scores = {"volume_ml": volume_ml(mask, spacing_mm)}
    for name in ("entropy", "information"):
        values = getattr(maps, name)[box][near].astype(np.float32)
        scores[f"{name}_top"] = _none_if_nan(top_mean(values, spacing_mm, top_ml))
        scores[f"{name}_roi"] = float(values.mean()) if values.size else None
    # All predictions are background outside the box, and the box is much smaller.
    inside = [prediction[box] for prediction in masks]
    return scores | {"components": betti_disagreement(inside), "centreline": centreline_disagreement(inside)}


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
