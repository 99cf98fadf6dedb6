"""Rehearse one strategy with one seed: request studies, label them, retrain, and score the served model."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.cases import Case
from lib.data.formats import read_header
from lib.data.pipeline import IGNORE, load_label
from lib.evaluation.metrics.overlap import dice
from lib.evaluation.metrics.topology import cl_dice
from lib.evaluation.report import json_safe
from lib.simulation.people import Assignment, Label, Person
from lib.simulation.site import create_site, serve
from lib.simulation.viewer import Viewer
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import served_weights
from lib.tasks.spec import CLICK, RANDOM, AppSpec, TaskSpec, load_app

FIRST_STRATEGY = RANDOM
"""Strategy of the first round, for all strategies of a seed: before the first training no study has a score."""


@dataclass(frozen=True)
class Plan:
    """Conditions of a rehearsal, equal for all strategies.

    Args:
        app_dir: Folder of the app to rehearse.
        task: Name of its segmentation task.
        pool: Cases to label; the server never sees their true labels.
        test: Cases on which the served model is scored.
        person: Simulated annotator.
        rounds: Number of rounds of labelling and training, including the first.
        batch: Studies to label per round.
        options: Recipe options of every training.
        starter: Whether the app starts with its starter weights; otherwise without weights.
        threads: Threads of each server and its jobs.
    """

    app_dir: Path
    task: str
    pool: Sequence[Case]
    test: Sequence[Case]
    person: Person
    rounds: int = 5
    batch: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)
    starter: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Point:
    """State of a rehearsal after the training of a round.

    Args:
        labels: Labels submitted so far.
        clicks: Clicks sent so far.
        minutes: Working time so far, in minutes, by the model of effort.
        dice: Mean over the test cases of the mean Dice over classes.
        cl_dice: Mean clDice over the test cases, for the union of the classes.
        classes: Mean Dice over the test cases, by class.
        verdict: Verdict of the gate on the new version, which is promoted in any case.
        cases: Names of the cases labelled in this round, in their order.
    """

    labels: int
    clicks: int
    minutes: float
    dice: float
    cl_dice: float
    classes: Mapping[str, float]
    verdict: str
    cases: tuple[str, ...]


@dataclass(eq=False)
class Campaign:
    """Rehearsal of one strategy with one seed, in a folder of its own.

    Args:
        plan: Conditions of the rehearsal.
        seed: Seed of random draws, trainings and the annotator.
        strategy: Name of a strategy that the server offers.
        folder: Folder of the app, the studies and the server's log.
        on_round: Called after every round.
        points: States after the rounds so far.
    """

    plan: Plan
    seed: int
    strategy: str
    folder: Path
    on_round: Callable[[], object] = lambda: None
    points: list[Point] = field(default_factory=list)

    def begin(self) -> "Campaign":
        """Create app and studies, and run the first round, whose studies are drawn at random."""
        create_site(self.folder, self.plan.app_dir, [case.image for case in self.plan.pool], starter=self.plan.starter)
        with serve(self.folder, threads=self.plan.threads) as url:
            self._round(Viewer(url), FIRST_STRATEGY)
        return self

    def fork(self, strategy: str, folder: Path) -> "Campaign":
        """Copy the rehearsal to `folder` and return the copy, which continues with another strategy."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Campaign(self.plan, self.seed, strategy, folder, self.on_round, [*self.points])

    def finish(self) -> list[Point]:
        """Run the remaining rounds and return the points of all rounds."""
        with serve(self.folder, threads=self.plan.threads) as url:
            viewer = Viewer(url)
            self._check_strategy(viewer)
            while len(self.points) < self.plan.rounds:
                if self.strategy != FIRST_STRATEGY:
                    viewer.score(f"{self.plan.task}_scores", self._served_version)
                self._round(viewer, self.strategy)
        return self.points

    @property
    def _app(self) -> AppSpec:
        return load_app(self.folder / "app")

    @property
    def _spec(self) -> TaskSpec:
        return self._app.task(self.plan.task)

    def _check_strategy(self, viewer: Viewer) -> None:
        if self.strategy not in (known := viewer.info()["strategies"]):
            raise ValueError(f"the app has no strategy '{self.strategy}'; choose one of: {', '.join(known)}")

    def _round(self, viewer: Viewer, strategy: str) -> None:
        cases = {case.id: case for case in self.plan.pool}
        clicks, seconds, labelled = 0, 0.0, []
        for _ in range(self.plan.batch):
            name = viewer.next_study(strategy, self.seed)["id"]
            if not name:
                break
            work = self._label(viewer, cases[name], len(self._earlier_cases) + len(labelled))
            clicks, seconds, labelled = clicks + work[0], seconds + work[1], [*labelled, name]
        outcome = viewer.train(self.plan.task, {**self.plan.options, "seed": self.seed})
        if not outcome["published"]:
            # Promote in any case: the rehearsal measures the effect of labels, and the gate has too few patients yet.
            promote(self.folder / "app", self.plan.task, outcome["version"], by="rehearsal")
        last = self.points[-1] if self.points else Point(0, 0, 0.0, 0.0, 0.0, {}, "", ())
        scores = [self._score(viewer, case) for case in self.plan.test]
        self.points.append(
            Point(
                labels=last.labels + len(labelled),
                clicks=last.clicks + clicks,
                minutes=round(last.minutes + seconds / 60, 2),
                dice=round(_mean([_mean(list(dice_by_class.values())) for dice_by_class, _ in scores]), 5),
                cl_dice=round(_mean([union_cl_dice for _, union_cl_dice in scores]), 5),
                classes={
                    name: round(_mean([dice_by_class[name] for dice_by_class, _ in scores]), 5)
                    for name in self._spec.label_values
                },
                verdict=outcome["verdict"],
                cases=tuple(labelled),
            )
        )
        self.on_round()

    @property
    def _served_version(self) -> str:
        return served_weights(self.folder / "app", self._spec).name

    @property
    def _earlier_cases(self) -> list[str]:
        return [name for point in self.points for name in point.cases]

    def _label(self, viewer: Viewer, case: Case, number: int) -> tuple[int, float]:
        """Label a case and submit it; return the number of clicks and the working time in seconds."""
        truth, affine = _read(case)
        click_task = next((task.name for task in self._app.tasks if task.kind == CLICK), "")

        def refine(clicks: Any, label: Label | None) -> Label:
            return viewer.refine(click_task, case.id, clicks, label, affine)

        assignment = Assignment(
            truth=truth,
            proposal=viewer.propose(self.plan.task, case.id),
            values=self._spec.label_values,
            spacing_mm=np.linalg.norm(affine[:3, :3], axis=0).tolist(),
            refine=refine if click_task else None,
            rng=np.random.default_rng([self.seed, number]),
        )
        work = self.plan.person.label(assignment)
        viewer.submit(case.id, work.label, affine)
        return work.clicks, work.seconds

    def _score(self, viewer: Viewer, case: Case) -> tuple[dict[str, float], float]:
        """Return Dice by class and clDice of the union of the classes.

        The Dice is nan for a class that neither the label nor the prediction has.
        """
        prediction, (truth, _) = viewer.segment(self.plan.task, case.image), _read(case)
        valid = truth != IGNORE
        prediction = np.where(valid, np.zeros_like(truth) if prediction is None else prediction, 0)
        truth = np.where(valid, truth, 0)
        scores = {name: dice(prediction == value, truth == value) for name, value in self._spec.label_values.items()}
        return scores, cl_dice(prediction > 0, truth > 0)


def points_to_json(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return points as JSON values; numbers that are not finite become None."""
    return [json_safe(asdict(point)) for point in points]


def points_from_json(records: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return the points that `points_to_json` converted."""
    return [_point(record) for record in records]


def _point(record: Mapping[str, Any]) -> Point:
    values = {key: math.nan if value is None else value for key, value in record.items()}
    classes = {name: math.nan if value is None else value for name, value in record["classes"].items()}
    return Point(**{**values, "classes": classes, "cases": tuple(record["cases"])})


def _read(case: Case) -> tuple[Label, NDArray[np.float64]]:
    """Return the true label of a case and its affine."""
    assert case.label is not None, "cases of a rehearsal have labels"
    grid = read_header(case.image)
    return load_label(case.label, grid.spatial_shape, grid.affine, in_pixels=grid.in_pixels), grid.affine


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else math.nan
