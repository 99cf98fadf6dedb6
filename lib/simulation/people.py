"""Simulated annotators, who know the true label and differ in how they correct a proposal."""

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
Refine = Callable[[Clicks, Label | None], Label]
"""Request a label from the server for clicks ``[i, j, k]`` on each class or on the background.

The second argument is the label to correct; None requests a new label.
"""
BACKGROUND = "background"


@dataclass(frozen=True)
class Assignment:
    """A case to label, with everything that the annotator needs.

    Args:
        truth: True label, ``(X, Y, Z)``.
        proposal: Label proposed by the server, ``(X, Y, Z)``; None if all_values is no proposal.
        values: Label value of each class.
        spacing_mm: Voxel spacing, in mm.
        refine: Requests a label from the server by clicks; None if the app has no click task.
        rng: Random generator of the annotator.
    """

    truth: Label
    proposal: Label | None
    values: Mapping[str, int]
    spacing_mm: Sequence[float]
    refine: Refine | None
    rng: np.random.Generator


@dataclass(frozen=True)
class LabelledCase:
    """The label that an annotator made, and its effort.

    Args:
        label: Label to submit, ``(X, Y, Z)``.
        seconds: Working time by the model of effort.
        clicks: Number of clicks sent to the server.
    """

    label: Label
    seconds: float
    clicks: int = 0


class Person(Protocol):
    """An annotator."""

    def label(self, assignment: Assignment) -> LabelledCase:
        """Label the case of an assignment."""
        ...


@dataclass(frozen=True)
class Oracle:
    """Annotator who corrects the proposal to exactly the true label.

    Args:
        effort: Model of the working time.
    """

    effort: Effort = field(default_factory=Effort)

    def label(self, assignment: Assignment) -> LabelledCase:
        """Return the true label."""
        return _record_drawing(assignment.truth, assignment, self.effort)


@dataclass(frozen=True)
class Noisy:
    """Annotator who draws the true label with random errors along its surface.

    Args:
        effort: Model of the working time.
        stray_mm: Standard deviation of the displacement along each axis, in mm.
        smooth_mm: Standard deviation of the Gaussian that smooths the displacement, in mm.
    """

    effort: Effort = field(default_factory=Effort)
    stray_mm: float = 1.0
    smooth_mm: float = 6.0

    def label(self, assignment: Assignment) -> LabelledCase:
        """Return the true label with a smoothly displaced surface."""
        label = displace_surface(assignment.truth, assignment.spacing_mm, self.stray_mm, self.smooth_mm, assignment.rng)
        return _record_drawing(label, assignment, self.effort)


@dataclass(frozen=True)
class Lazy:
    """Annotator who accepts a proposed class if its Dice is high enough and draws the other classes.

    Args:
        effort: Model of the working time.
        content_dice: Lowest Dice at which a class is accepted.
    """

    effort: Effort = field(default_factory=Effort)
    content_dice: float = 0.85

    def label(self, assignment: Assignment) -> LabelledCase:
        """Return the proposal, with the true label of every class that was not accepted."""
        if assignment.proposal is None:
            return _record_drawing(assignment.truth, assignment, self.effort)
        bad = [v for v in assignment.values.values() if self._is_bad(assignment.proposal == v, assignment.truth == v)]
        label = np.where(np.isin(assignment.proposal, bad), 0, assignment.proposal)
        label = np.where(np.isin(assignment.truth, bad), assignment.truth, label).astype(np.uint8)
        return _record_drawing(label, assignment, self.effort)

    def _is_bad(self, proposal: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        return bool(truth.any() or proposal.any()) and not dice(proposal, truth) >= self.content_dice


@dataclass(frozen=True)
class Clicking:
    """Annotator who never draws, but clicks where the label is most wrong and submits the result.

    Args:
        effort: Model of the working time.
        clicks: Number of clicks after which no further click follows.
    """

    effort: Effort = field(default_factory=Effort)
    clicks: int = 20

    def label(self, assignment: Assignment) -> LabelledCase:
        """Return the proposal, corrected by clicks.

        Raises:
            ValueError: If the app has no click task.
        """
        if assignment.refine is None:
            raise ValueError(
                "the person 'clicking' needs a task of kind 'click' in the app: add one, or choose another"
            )
        label, sent = assignment.proposal, 0
        while sent < self.clicks:
            if label is None:
                clicks = _first_clicks(assignment.truth, assignment.values)
            else:
                clicks = _click_on_worst_error(label, assignment.truth, assignment.values)
            if not clicks:
                break
            label = assignment.refine(clicks, label)
            sent += sum(len(points) for points in clicks.values())
        label = np.zeros_like(assignment.truth) if label is None else label
        return LabelledCase(label, self.effort.seconds(clicks=sent), sent)


PEOPLE: dict[str, type[Oracle | Noisy | Lazy | Clicking]] = {
    "oracle": Oracle,
    "noisy": Noisy,
    "lazy": Lazy,
    "clicking": Clicking,
}


def displace_surface(
    label: Label, spacing_mm: Sequence[float], stray_mm: float, smooth_mm: float, rng: np.random.Generator
) -> Label:
    """Return a label whose surface is displaced by a smooth random field.

    Args:
        label: Label, ``(X, Y, Z)``.
        spacing_mm: Voxel spacing, in mm.
        stray_mm: Standard deviation of the displacement along each axis, in mm.
        smooth_mm: Standard deviation of the Gaussian that smooths the displacement, in mm.
        rng: Random generator of the displacement.
    """
    displacements = []
    for step_mm in spacing_mm:
        noise = gaussian_filter(rng.standard_normal(label.shape), [smooth_mm / spacing for spacing in spacing_mm])
        displacements.append(noise / max(float(noise.std()), 1e-9) * stray_mm / step_mm)
    indices = np.indices(label.shape)
    coordinates = [axis + shift for axis, shift in zip(indices, displacements, strict=True)]
    return map_coordinates(label, coordinates, order=0, mode="nearest").astype(np.uint8)


def _record_drawing(label: Label, assignment: Assignment, effort: Effort) -> LabelledCase:
    drawn_mm = added_path_mm(label, assignment.proposal, assignment.values, assignment.spacing_mm)
    return LabelledCase(label, effort.seconds(drawn_mm=drawn_mm))


def _first_clicks(truth: Label, values: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return a click on every class, on the slice where the class is largest."""
    clicks: dict[str, list[list[int]]] = {}
    for name, value in values.items():
        wanted = truth == value
        k = int(wanted.sum(axis=(0, 1)).argmax())
        click = next_click(np.zeros(wanted.shape[:2], bool), wanted[..., k])
        if click is not None:
            clicks[name] = [[click.row, click.column, k]]
    return clicks


def _click_on_worst_error(label: Label, truth: Label, values: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return a click on the true class in the largest error of the slice with most errors; empty without an error."""
    valid = truth != IGNORE
    wrong = (label != truth) & valid
    k = int(wrong.sum(axis=(0, 1)).argmax())
    all_values = {**values, BACKGROUND: 0}
    errors = {n: int((((label == v) != (truth == v)) & valid)[..., k].sum()) for n, v in all_values.items()}
    worst = all_values[max(errors, key=lambda name: errors[name])]
    click = next_click(label[..., k] == worst, truth[..., k] == worst, valid[..., k])
    if click is None:
        return {}
    true_class = next(n for n, v in all_values.items() if v == truth[click.row, click.column, k])
    return {true_class: [[click.row, click.column, k]]}
