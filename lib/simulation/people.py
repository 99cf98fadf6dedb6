"""Simulated annotators, who know the true label and differ in what they make of a proposal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from lib.data.pipeline import IGNORE
from lib.evaluation.metrics.clicks import next_click
from lib.evaluation.metrics.overlap import dice
from lib.simulation.effort import Effort, added_path_mm

Label = NDArray[np.uint8]
Clicks = Mapping[str, Sequence[Sequence[int]]]
Mend = Callable[[Clicks, Label | None], Label]
"""Ask the server for a label by clicks ``[i, j, k]`` on each class, or beside all; given one, it mends that."""
BACKGROUND = "background"


@dataclass(frozen=True)
class Desk:
    """What lies before a person.

    Args:
        truth: The exact label, ``(X, Y, Z)``.
        proposal: The server's; None where it had none.
        values: Value of each class.
        spacing_mm: Of the voxels.
        mend: Asks for a mask by clicks; None where the server answers none.
        rng: This person's chance.
    """

    truth: Label
    proposal: Label | None
    values: Mapping[str, int]
    spacing_mm: Sequence[float]
    mend: Mend | None
    rng: np.random.Generator


@dataclass(frozen=True)
class Work:
    """What a person made of a case.

    Args:
        label: As submitted.
        seconds: By the model of effort.
        clicks: Sent to the server.
    """

    label: Label
    seconds: float
    clicks: int = 0


class Person(Protocol):
    """Somebody who labels a case."""

    def label(self, desk: Desk) -> Work:
        """Return what is submitted."""
        ...


@dataclass(frozen=True)
class Oracle:
    """Draws exactly the truth over the proposal."""

    effort: Effort = field(default_factory=Effort)

    def label(self, desk: Desk) -> Work:
        """Return the truth."""
        return _drawn(desk.truth, desk, self.effort)


@dataclass(frozen=True)
class Noisy:
    """Draws the truth with a hand that strays.

    Args:
        stray_mm: Standard deviation of each axis' displacement.
        smooth_mm: How far along the surface a stray goes.
    """

    effort: Effort = field(default_factory=Effort)
    stray_mm: float = 1.0
    smooth_mm: float = 6.0

    def label(self, desk: Desk) -> Work:
        """Return the truth, its surface displaced smoothly."""
        return _drawn(strayed(desk.truth, desk.spacing_mm, self.stray_mm, self.smooth_mm, desk.rng), desk, self.effort)


@dataclass(frozen=True)
class Lazy:
    """Leaves a class as proposed where it looks good enough, and draws the others.

    Args:
        content_dice: Where it does.
    """

    effort: Effort = field(default_factory=Effort)
    content_dice: float = 0.85

    def label(self, desk: Desk) -> Work:
        """Return the proposal, its bad classes replaced."""
        if desk.proposal is None:
            return _drawn(desk.truth, desk, self.effort)
        bad = [v for v in desk.values.values() if self._bad(desk.proposal == v, desk.truth == v)]
        label = np.where(np.isin(desk.proposal, bad), 0, desk.proposal)
        label = np.where(np.isin(desk.truth, bad), desk.truth, label).astype(np.uint8)
        return _drawn(label, desk, self.effort)

    def _bad(self, proposal: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        return bool(truth.any() or proposal.any()) and not dice(proposal, truth) >= self.content_dice


@dataclass(frozen=True)
class Clicking:
    """Never draws: clicks where a class is most wrong, and submits what so many clicks make.

    Args:
        clicks: At most, for a case.
    """

    effort: Effort = field(default_factory=Effort)
    clicks: int = 20

    def label(self, desk: Desk) -> Work:
        """Return the proposal mended by clicks.

        Raises:
            ValueError: If the server answers no clicks.
        """
        if desk.mend is None:
            raise ValueError("somebody who only clicks needs a task of kind 'click' in the app")
        label, done = desk.proposal, 0
        while done < self.clicks:
            found = _opening(desk.truth, desk.values) if label is None else _worst(label, desk.truth, desk.values)
            if not found:
                break
            label = desk.mend(found, label)
            done += sum(len(points) for points in found.values())
        label = np.zeros_like(desk.truth) if label is None else label
        return Work(label, self.effort.seconds(clicks=done), done)


PEOPLE: dict[str, type[Oracle | Noisy | Lazy | Clicking]] = {
    "oracle": Oracle,
    "noisy": Noisy,
    "lazy": Lazy,
    "clicking": Clicking,
}


def strayed(
    label: Label, spacing_mm: Sequence[float], stray_mm: float, smooth_mm: float, rng: np.random.Generator
) -> Label:
    """Return a label whose surface is displaced by a smooth random field.

    Args:
        label: ``(X, Y, Z)``.
        spacing_mm: Of the voxels.
        stray_mm: Standard deviation of the displacement along each axis.
        smooth_mm: Standard deviation of the Gaussian that smooths it.
        rng: Draws it.
    """
    moved = []
    for step_mm in spacing_mm:
        noise = gaussian_filter(rng.standard_normal(label.shape), [smooth_mm / each for each in spacing_mm])
        moved.append(noise / max(float(noise.std()), 1e-9) * stray_mm / step_mm)
    places = [axis + away for axis, away in zip(np.indices(label.shape), moved, strict=True)]
    return map_coordinates(label, places, order=0, mode="nearest").astype(np.uint8)


def _drawn(label: Label, desk: Desk, effort: Effort) -> Work:
    drawn_mm = added_path_mm(label, desk.proposal, desk.values, desk.spacing_mm)
    return Work(label, effort.seconds(drawn_mm=drawn_mm))


def _opening(truth: Label, values: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return a click on every class, in the middle of the slice where it is largest."""
    clicks: dict[str, list[list[int]]] = {}
    for name, value in values.items():
        wanted = truth == value
        k = int(wanted.sum(axis=(0, 1)).argmax())
        click = next_click(np.zeros(wanted.shape[:2], bool), wanted[..., k])
        if click is not None:
            clicks[name] = [[click.row, click.column, k]]
    return clicks


def _worst(label: Label, truth: Label, values: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return a click where the worst slice is most wrong, on what is truly there; empty where nothing is wrong."""
    valid = truth != IGNORE
    wrong = (label != truth) & valid
    k = int(wrong.sum(axis=(0, 1)).argmax())
    there = {**values, BACKGROUND: 0}
    errors = {n: int((((label == v) != (truth == v)) & valid)[..., k].sum()) for n, v in there.items()}
    worst = there[max(errors, key=lambda name: errors[name])]
    click = next_click(label[..., k] == worst, truth[..., k] == worst, valid[..., k])
    if click is None:
        return {}
    truly = next(n for n, v in there.items() if v == truth[click.row, click.column, k])
    return {truly: [[click.row, click.column, k]]}
