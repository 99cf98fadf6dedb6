"""Simulate an annotator that clicks on the largest error of a mask, and count the clicks until a mask is good."""

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
"""IoU values for which the clicks are counted."""
AFTER = (1, 3, 5, 10)
"""Numbers of clicks after which the Dice is reported."""


@dataclass(frozen=True)
class Click:
    """A click at a pixel, on the object (foreground) or beside it (background)."""

    row: int
    column: int
    foreground: bool


@dataclass(frozen=True)
class Session:
    """Clicks on one object and the resulting scores.

    Args:
        clicks: Clicks in their order.
        dice: Dice of the mask after each click.
        iou: Intersection over union of the mask after each click.
    """

    clicks: tuple[Click, ...] = ()
    dice: tuple[float, ...] = ()
    iou: tuple[float, ...] = ()

    def clicks_to_reach(self, target: float) -> int:
        """Return the number of clicks until the IoU reaches `target` (NoC), or of all clicks if it never does."""
        return next((n for n, value in enumerate(self.iou, start=1) if value >= target), len(self.iou))

    def dice_after(self, clicks: int) -> float:
        """Return the Dice after `clicks` clicks, or after the last one: a perfect mask gets no further click."""
        return self.dice[min(clicks, len(self.dice)) - 1] if self.dice else math.nan


@dataclass(frozen=True)
class Summary:
    """Means over objects.

    Args:
        noc: Number of clicks until an IoU is reached, by IoU.
        failed: Share of objects that never reach the IoU, by IoU.
        dice: Dice after a number of clicks, by that number.
        objects: Number of objects.
    """

    noc: dict[float, float] = field(default_factory=dict)
    failed: dict[float, float] = field(default_factory=dict)
    dice: dict[int, float] = field(default_factory=dict)
    objects: int = 0


def next_click(
    mask: Mask, target: Mask, valid: Mask | None = None, rng: np.random.Generator | None = None
) -> Click | None:
    """Return a click at the innermost pixel of the largest error region.

    Args:
        mask: Current mask, ``(H, W)``.
        target: Wanted mask, ``(H, W)``.
        valid: Mask of the pixels where the target is known; None for all pixels.
        rng: Draws among the pixels at least half as deep as the innermost one, as a hand would spread; None takes the
            innermost pixel.
    Returns:
        The click; None without an error.
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
    """Return the deepest pixel of a region as row and column; with `rng`, a random one at least half as deep.

    Raises:
        ValueError: If the region is empty.
    """
    if not region.any():
        raise ValueError("an empty region has no innermost pixel; expected at least one true pixel")
    # Padded, so that the border of the image counts as a border of the region.
    depth = np.asarray(distance_transform_edt(np.pad(region, 1)))[1:-1, 1:-1]
    if rng is None:
        return tuple(int(i) for i in np.unravel_index(np.argmax(depth), depth.shape))  # type: ignore[return-value]
    choices = np.argwhere(depth >= depth.max() / 2)
    row, column = choices[rng.integers(len(choices))]
    return int(row), int(column)


def inner_points(mask: Mask, max_points: int, rng: np.random.Generator | None = None) -> list[tuple[int, int]]:
    """Return the innermost pixel of each connected part of a mask, largest part first, at most `max_points` pixels."""
    parts, count = cc3d.connected_components(mask, connectivity=8, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return [innermost(parts == index + 1, rng) for index in np.argsort(-sizes, kind="stable")[:max_points]]


def simulate_session(
    answer: Callable[[Sequence[Click]], Mask],
    target: Mask,
    *,
    max_clicks: int = 10,
    valid: Mask | None = None,
    rng: np.random.Generator | None = None,
) -> Session:
    """Click until the mask is correct or `max_clicks` is reached.

    Args:
        answer: Function from all clicks so far to a mask, ``(H, W)``.
        target: Wanted mask, ``(H, W)``.
        max_clicks: Largest number of clicks.
        valid: Mask of the pixels where the target is known; None for all pixels.
        rng: As in `next_click`.
    """
    clicks: list[Click] = []
    scores: list[tuple[float, float]] = []
    mask, known = np.zeros_like(target), np.ones_like(target) if valid is None else valid
    while len(clicks) < max_clicks and (click := next_click(mask, target, known, rng)):
        clicks.append(click)
        mask = answer(clicks)
        scores.append((dice(mask & known, target & known), iou(mask & known, target & known)))
    return Session(tuple(clicks), tuple(pair[0] for pair in scores), tuple(pair[1] for pair in scores))


def summarise(sessions: Sequence[Session], max_clicks: int) -> Summary:
    """Return the means over objects; an object that never reaches an IoU counts as `max_clicks` clicks.

    Args:
        sessions: At least one session.
        max_clicks: Largest number of clicks of each session.
    """
    reached = {target: [max(session.iou, default=0.0) >= target for session in sessions] for target in TARGETS}
    noc = {
        target: float(
            np.mean(
                [
                    session.clicks_to_reach(target) if ok else max_clicks
                    for session, ok in zip(sessions, reached[target], strict=True)
                ]
            )
        )
        for target in TARGETS
    }
    return Summary(
        noc=noc,
        failed={target: 1 - float(np.mean(reached[target])) for target in TARGETS},
        dice={
            clicks: float(np.nanmean([session.dice_after(clicks) for session in sessions]))
            for clicks in AFTER
            if clicks <= max_clicks
        },
        objects=len(sessions),
    )


def _largest(region: Mask) -> Mask:
    if not region.any():
        return region
    return cc3d.largest_k(region, k=1, connectivity=8) > 0
