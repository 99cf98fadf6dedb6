"""A simulated annotator: it clicks where a mask is most wrong, and counts how many clicks a mask takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lib.evaluation.metrics.overlap import dice, iou

Mask = NDArray[np.bool_]
TARGETS = (0.85, 0.90)
AFTER = (1, 3, 5, 10)


@dataclass(frozen=True)
class Click:
    """A click at a pixel, on the object or beside it."""

    row: int
    column: int
    foreground: bool


@dataclass(frozen=True)
class Session:
    """What one object took.

    Args:
        clicks: In their order.
        dice: Of the mask after each of them.
        iou: The same as intersection over union.
    """

    clicks: tuple[Click, ...] = ()
    dice: tuple[float, ...] = ()
    iou: tuple[float, ...] = ()

    def count(self, target: float) -> int:
        """Return the clicks until the IoU reaches a target (NoC); all of them where it never does."""
        return next((n for n, value in enumerate(self.iou, start=1) if value >= target), len(self.iou))

    def after(self, clicks: int) -> float:
        """Return the Dice after so many clicks; nobody clicks on a perfect mask."""
        return self.dice[min(clicks, len(self.dice)) - 1] if self.dice else math.nan


@dataclass(frozen=True)
class Summary:
    """Means over objects.

    Args:
        noc: Clicks until an IoU is reached, by that IoU.
        failed: Share of objects that never reach it, by that IoU.
        dice: Dice after so many clicks, by their number.
        objects: How many.
    """

    noc: dict[float, float] = field(default_factory=dict)
    failed: dict[float, float] = field(default_factory=dict)
    dice: dict[int, float] = field(default_factory=dict)
    objects: int = 0


def next_click(
    mask: Mask, target: Mask, valid: Mask | None = None, rng: np.random.Generator | None = None
) -> Click | None:
    """Return the click on the largest region where a mask is wrong, at its innermost pixel.

    Args:
        mask: What there is, ``(H, W)``.
        target: What there should be.
        valid: Where the target is known; None for everywhere.
        rng: Chooses among the pixels at least half as deep as the innermost one, as hands do; None takes that one.
    Returns:
        None where nothing is wrong.
    Source:
        Sofiiuk et al. 2022, RITM, arXiv:2102.06583, evaluation; Kirillov et al. 2023, arXiv:2304.02643, training.
    """
    known = np.ones_like(target) if valid is None else valid
    regions = [_largest(known & target & ~mask), _largest(known & mask & ~target)]
    sizes = [int(region.sum()) for region in regions]
    if not any(sizes):
        return None
    missing = sizes[0] >= sizes[1]
    row, column = innermost(regions[0 if missing else 1], rng)
    return Click(row, column, missing)


def innermost(region: Mask, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """Return the pixel of a region that lies deepest in it; with `rng`, any at least half as deep.

    Raises:
        ValueError: If the region is empty.
    """
    if not region.any():
        raise ValueError("an empty region has no inside")
    # The border of the image is a border of the region.
    depth = np.asarray(distance_transform_edt(np.pad(region, 1)))[1:-1, 1:-1]
    if rng is None:
        return tuple(int(i) for i in np.unravel_index(np.argmax(depth), depth.shape))  # type: ignore[return-value]
    choices = np.argwhere(depth >= depth.max() / 2)
    row, column = choices[rng.integers(len(choices))]
    return int(row), int(column)


def inner_points(mask: Mask, most: int, rng: np.random.Generator | None = None) -> list[tuple[int, int]]:
    """Return the innermost pixel of each of a mask's largest parts, `most` at the most, the largest part first."""
    parts, count = cc3d.connected_components(mask, connectivity=8, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return [innermost(parts == index + 1, rng) for index in np.argsort(-sizes, kind="stable")[:most]]


def annotate(
    answer: Callable[[Sequence[Click]], Mask],
    target: Mask,
    *,
    most: int = 10,
    valid: Mask | None = None,
    rng: np.random.Generator | None = None,
) -> Session:
    """Click until the mask is right or the clicks are used up.

    Args:
        answer: Mask ``(H, W)`` of all clicks so far.
        target: What the annotator wants, ``(H, W)``.
        most: Clicks at the most.
        valid: Where the target is known.
        rng: Spreads the clicks; see `next_click`.
    """
    clicks: list[Click] = []
    scores: list[tuple[float, float]] = []
    mask, known = np.zeros_like(target), np.ones_like(target) if valid is None else valid
    while len(clicks) < most and (click := next_click(mask, target, known, rng)):
        clicks.append(click)
        mask = answer(clicks)
        scores.append((dice(mask & known, target & known), iou(mask & known, target & known)))
    return Session(tuple(clicks), tuple(each[0] for each in scores), tuple(each[1] for each in scores))


def summarise(sessions: Sequence[Session], most: int) -> Summary:
    """Return the means over objects; one that never reaches an IoU counts as `most` clicks.

    Args:
        sessions: At least one.
        most: Clicks that each was allowed.
    """
    reached = {target: [max(each.iou, default=0.0) >= target for each in sessions] for target in TARGETS}
    noc = {
        target: float(
            np.mean([s.count(target) if ok else most for s, ok in zip(sessions, reached[target], strict=True)])
        )
        for target in TARGETS
    }
    return Summary(
        noc=noc,
        failed={target: 1 - float(np.mean(reached[target])) for target in TARGETS},
        dice={
            clicks: float(np.nanmean([each.after(clicks) for each in sessions])) for clicks in AFTER if clicks <= most
        },
        objects=len(sessions),
    )


def _largest(region: Mask) -> Mask:
    if not region.any():
        return region
    return cc3d.largest_k(region, k=1, connectivity=8) > 0
