"""The numbers of one case that strategies rank by, for all classes together and for each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.evaluation.metrics.volume import volume_ml
from lib.evaluation.selection.topological_uncertainty import betti_disagreement, centreline_disagreement, fragility
from lib.evaluation.selection.uncertainty import Mask, Opinion, region, top_mean

LEVELS = 255
Numbers = dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Maps:
    """What several answers say of a volume, in ``T + 6`` bytes per voxel; see `Opinion`.

    Args:
        entropy: float16 ``(X, Y, Z)``.
        information: float16 ``(X, Y, Z)``.
        foreground: uint8 ``(X, Y, Z)``, 255 for a probability of 1.
        label: uint8 ``(X, Y, Z)``.
        labels: uint8 ``(T, X, Y, Z)``.
    """

    entropy: npt.NDArray[np.float16]
    information: npt.NDArray[np.float16]
    foreground: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    @classmethod
    def empty(cls, samples: int, shape: Sequence[int]) -> "Maps":
        """Return maps to be filled by `take`."""
        floats, bytes_ = (lambda: np.zeros(shape, np.float16)), (lambda: np.zeros(shape, np.uint8))
        return cls(floats(), floats(), bytes_(), bytes_(), np.zeros((samples, *shape), np.uint8))

    def take(self, start: int, opinion: Opinion) -> None:
        """Fill in some slices.

        Args:
            start: The first.
            opinion: Of shape ``(X, Y, n)``.
        """
        side = slice(start, start + opinion.label.shape[-1])
        self.entropy[..., side] = opinion.entropy.numpy()
        self.information[..., side] = opinion.information.numpy()
        self.foreground[..., side] = (opinion.foreground * LEVELS).round().byte().numpy()
        self.label[..., side] = opinion.label.numpy()
        self.labels[..., side] = opinion.labels.numpy()


def case_scores(
    maps: Maps, classes: Mapping[str, int], spacing_mm: Sequence[float], *, top_ml: float, margin_mm: float
) -> dict[str, Any]:
    """Return the numbers of a case.

    Args:
        maps: What several answers say of it.
        classes: The value of each class, by name.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        top_ml: The most uncertain volume that `top` numbers are the mean over.
        margin_mm: How far the region of interest reaches beyond what any answer found.
    Returns:
        ``{"all": numbers, "classes": {name: numbers}}``. Numbers are ``volume_ml``; ``entropy`` and ``information``
        over ``top`` and ``roi``, in nats; ``components`` (Betti numbers) and ``centreline`` (1 - clDice), by which two
        answers differ; and of all together ``fragility``. A class is looked at in its own region. None for what is
        nowhere.
    """
    every = _numbers(maps, maps.label > 0, maps.labels > 0, spacing_mm, top_ml, margin_mm)
    # What all answers miss may be uncertain as well, so here the whole field of view counts.
    for name in ("entropy", "information"):
        every[f"{name}_top"] = _number(top_mean(getattr(maps, name), spacing_mm, top_ml))
    every["fragility"] = fragility(maps.foreground, full=LEVELS)
    return {
        "all": every,
        "classes": {
            name: _numbers(maps, maps.label == value, maps.labels == value, spacing_mm, top_ml, margin_mm)
            for name, value in classes.items()
        },
    }


def _numbers(
    maps: Maps, mask: Mask, masks: Mask, spacing_mm: Sequence[float], top_ml: float, margin_mm: float
) -> Numbers:
    box, near = region(masks.any(axis=0), spacing_mm, margin_mm)
    numbers: Numbers = {"volume_ml": volume_ml(mask, spacing_mm)}
    for name in ("entropy", "information"):
        values = getattr(maps, name)[box][near].astype(np.float32)
        numbers[f"{name}_top"] = _number(top_mean(values, spacing_mm, top_ml))
        numbers[f"{name}_roi"] = float(values.mean()) if values.size else None
    # What lies beyond the box is background for all, and the box is much smaller.
    inside = [each[box] for each in masks]
    return numbers | {"components": betti_disagreement(inside), "centreline": centreline_disagreement(inside)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
