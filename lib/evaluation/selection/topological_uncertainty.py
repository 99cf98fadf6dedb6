"""Measure how much several predictions differ in topology: components, loops and centreline."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.topology import betti_numbers
from lib.ops.skeleton import skeleton

Mask = npt.NDArray[np.bool_]
Item = TypeVar("Item")

THRESHOLDS_PROB = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def betti_disagreement(masks: Sequence[Mask]) -> float:
    """Return the summed difference of two predictions in components, tunnels and cavities, as a mean over pairs.

    Args:
        masks: Boolean masks of the predictions, ``(X, Y, Z)`` each, at least two.
    """
    return _mean_over_pairs([betti_numbers(mask) for mask in masks], _difference)


def centreline_disagreement(masks: Sequence[Mask]) -> float:
    """Return 1 - clDice of two predictions, as a mean over pairs.

    Args:
        masks: Boolean masks of the predictions, ``(X, Y, Z)`` each, at least two.
    Returns:
        A number in [0, 1]; 0 if all masks are empty.
    """
    return _mean_over_pairs([(mask, skeleton(mask)) for mask in masks], _cl_distance)


def fragility(prob: npt.NDArray[np.floating] | npt.NDArray[np.uint8], *, full: float = 1.0) -> float:
    """Return the mean change of the Betti numbers as the threshold moves away from one half.

    The area under a Betti curve is the sum of the lifetimes of its features (total persistence). The result is thus the
    total lifetime of the features that appear or vanish on either side of the threshold one half. Features that exist
    at all thresholds, or at none, do not count.

    Args:
        prob: Mean probability of the structure, ``(X, Y, Z)``.
        full: Value of `prob` that stands for a probability of 1.
    Source:
        Betti curves and lifetimes: Edelsbrunner & Harer 2010, Computational Topology, chapter VII.
    """
    inside = prob[bounding_box(np.asarray(prob > full * THRESHOLDS_PROB[0]))]
    numbers = [betti_numbers(inside > full * level) for level in THRESHOLDS_PROB]
    reference = numbers[THRESHOLDS_PROB.index(0.5)]
    return float(np.mean([_difference(betti, reference) for betti in numbers]))


def _difference(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _cl_distance(one: tuple[Mask, Mask], other: tuple[Mask, Mask]) -> float:
    if not one[0].any() and not other[0].any():
        return 0.0
    if not one[0].any() or not other[0].any():
        return 1.0
    precision, sensitivity = float(other[0][one[1]].mean()), float(one[0][other[1]].mean())
    return 1 - 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 1.0


def _mean_over_pairs(items: Sequence[Item], distance: Callable[[Item, Item], float]) -> float:
    pairs = list(itertools.combinations(items, 2))
    return math.fsum(distance(one, other) for one, other in pairs) / len(pairs) if pairs else 0.0
