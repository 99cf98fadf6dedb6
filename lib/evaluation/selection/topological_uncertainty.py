"""How sure several answers are of a structure's shape: its components, its loops, its centreline."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.topology import betti_numbers, skeleton

Mask = npt.NDArray[np.bool_]
Item = TypeVar("Item")

THRESHOLDS_PROB = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def betti_disagreement(masks: Sequence[Mask]) -> float:
    """Return by how many components, tunnels and cavities two answers differ on average.

    Args:
        masks: Boolean masks, ``(X, Y, Z)`` each, two at least.
    """
    return _over_pairs([betti_numbers(mask) for mask in masks], _difference)


def centreline_disagreement(masks: Sequence[Mask]) -> float:
    """Return 1 - clDice of two answers on average; each skeleton is found once.

    Args:
        masks: Boolean masks, ``(X, Y, Z)`` each, two at least.
    Returns:
        A number in [0, 1]; 0 if all are empty.
    """
    return _over_pairs([(mask, _centreline(mask)) for mask in masks], _apart)


def fragility(prob: npt.NDArray[np.floating] | npt.NDArray[np.uint8], *, full: float = 1.0) -> float:
    """Return by how much the Betti numbers change, on average, as the threshold moves away from one half.

    The area under a Betti curve is the sum of the lifetimes of its features, their total persistence. So this is the
    total lifetime of what comes or goes on either side of the shape that is drawn; features that live through all
    thresholds, and noise that lives at none, count for nothing.

    Args:
        prob: Mean probability of the structure, ``(X, Y, Z)``.
        full: What stands for a probability of 1.
    Source:
        Betti curves and lifetimes: Edelsbrunner & Harer 2010, Computational Topology, chapter VII.
    """
    inside = prob[bounding_box(np.asarray(prob > full * THRESHOLDS_PROB[0]))]
    numbers = [betti_numbers(inside > full * level) for level in THRESHOLDS_PROB]
    drawn = numbers[THRESHOLDS_PROB.index(0.5)]
    return float(np.mean([_difference(each, drawn) for each in numbers]))


def _difference(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _centreline(mask: Mask) -> Mask:
    """Return the skeleton; what is too small to have one is its own."""
    line = skeleton(mask)
    return line if line.any() else mask


def _apart(one: tuple[Mask, Mask], other: tuple[Mask, Mask]) -> float:
    if not one[0].any() and not other[0].any():
        return 0.0
    if not one[0].any() or not other[0].any():
        return 1.0
    precision, sensitivity = float(other[0][one[1]].mean()), float(one[0][other[1]].mean())
    return 1 - 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 1.0


def _over_pairs(items: Sequence[Item], apart: Callable[[Item, Item], float]) -> float:
    pairs = list(itertools.combinations(items, 2))
    return math.fsum(apart(one, other) for one, other in pairs) / len(pairs) if pairs else 0.0
