"""One strategy, one seed: ask for studies, label them, retrain, and see what the served model can do by then."""

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
from lib.simulation.people import Desk, Label, Person
from lib.simulation.site import lay_out, served
from lib.simulation.viewer import Viewer
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import served_weights
from lib.tasks.spec import CLICK, RANDOM, AppSpec, TaskSpec, load_app

START = RANDOM
"""Draws the first labels, the same ones for every strategy of a seed: nothing is known of any study then."""


@dataclass(frozen=True)
class Plan:
    """What every strategy is given.

    Args:
        app_dir: The app that is rehearsed.
        task: Its segmentation task.
        pool: Cases to label, with the true labels that the server never sees.
        test: Cases that only tell what a served model can do.
        person: Who labels.
        rounds: Times that are labelled and trained, the first draw included.
        batch: Studies labelled in each.
        options: Of the recipe, for every training.
        starter: Whether it begins with the app's starter weights, else with none.
        threads: That each server and its jobs compute with.
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
    """Where a rehearsal stands after a training.

    Args:
        labels: Submitted so far.
        clicks: Sent so far.
        minutes: Of work so far, by the model of effort.
        dice: Mean over the test cases of the mean over classes; nan while nothing is served.
        cl_dice: Of the classes united, mean over the test cases.
        classes: Mean Dice by class.
        verdict: The gate's on the new version; it is promoted whatever that is.
        cases: Labelled in this round, in their order.
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
    """A rehearsal in a folder, of one strategy and seed, and its points so far.

    Args:
        plan: What is given.
        seed: Of draws, trainings and the person's hand.
        strategy: A name that the server offers.
        folder: Holds the app, the studies and the log.
        tell: Called after every round.
    """

    plan: Plan
    seed: int
    strategy: str
    folder: Path
    tell: Callable[[], object] = lambda: None
    points: list[Point] = field(default_factory=list)

    def begin(self) -> "Campaign":
        """Lay everything out and do the first round, whose studies are drawn by lot."""
        lay_out(self.folder, self.plan.app_dir, [case.image for case in self.plan.pool], starter=self.plan.starter)
        with served(self.folder, threads=self.plan.threads) as url:
            self._round(Viewer(url), START)
        return self

    def fork(self, strategy: str, folder: Path) -> "Campaign":
        """Return a copy that goes on with another strategy."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Campaign(self.plan, self.seed, strategy, folder, self.tell, [*self.points])

    def finish(self) -> list[Point]:
        """Do the rounds that are left; return all points."""
        with served(self.folder, threads=self.plan.threads) as url:
            viewer = Viewer(url)
            self._check(viewer)
            while len(self.points) < self.plan.rounds:
                if self.strategy != START:
                    viewer.score(f"{self.plan.task}_scores", self._served)
                self._round(viewer, self.strategy)
        return self.points

    @property
    def _app(self) -> AppSpec:
        return load_app(self.folder / "app")

    @property
    def _spec(self) -> TaskSpec:
        return self._app.task(self.plan.task)

    def _check(self, viewer: Viewer) -> None:
        if self.strategy not in (known := viewer.info()["strategies"]):
            raise ValueError(f"the app has no strategy '{self.strategy}'; it has: {', '.join(known)}")

    def _round(self, viewer: Viewer, strategy: str) -> None:
        cases = {case.id: case for case in self.plan.pool}
        clicks, seconds, done = 0, 0.0, []
        for _ in range(self.plan.batch):
            name = viewer.next_study(strategy, self.seed)["id"]
            if not name:
                break
            work = self._labelled(viewer, cases[name], len(self._earlier) + len(done))
            clicks, seconds, done = clicks + work[0], seconds + work[1], [*done, name]
        outcome = viewer.train(self.plan.task, {**self.plan.options, "seed": self.seed})
        if not outcome["published"]:
            # What labels bring is asked, and not what the few patients that the gate has by then can tell.
            promote(self.folder / "app", self.plan.task, outcome["version"], by="rehearsal")
        last = self.points[-1] if self.points else Point(0, 0, 0.0, 0.0, 0.0, {}, "", ())
        scores = [self._score(viewer, case) for case in self.plan.test]
        self.points.append(
            Point(
                labels=last.labels + len(done),
                clicks=last.clicks + clicks,
                minutes=round(last.minutes + seconds / 60, 2),
                dice=round(_mean([_mean(list(each.values())) for each, _ in scores]), 5),
                cl_dice=round(_mean([found for _, found in scores]), 5),
                classes={n: round(_mean([each[n] for each, _ in scores]), 5) for n in self._spec.label_values},
                verdict=outcome["verdict"],
                cases=tuple(done),
            )
        )
        self.tell()

    @property
    def _served(self) -> str:
        return served_weights(self.folder / "app", self._spec).name

    @property
    def _earlier(self) -> list[str]:
        return [name for point in self.points for name in point.cases]

    def _labelled(self, viewer: Viewer, case: Case, number: int) -> tuple[int, float]:
        """Label a case and submit it; return the clicks and the seconds that it took."""
        truth, affine = _read(case)
        click = next((task.name for task in self._app.tasks if task.kind == CLICK), "")

        def mend(clicks: Any, label: Label | None) -> Label:
            return viewer.mend(click, case.id, clicks, label, affine)

        desk = Desk(
            truth=truth,
            proposal=viewer.propose(self.plan.task, case.id),
            values=self._spec.label_values,
            spacing_mm=np.linalg.norm(affine[:3, :3], axis=0).tolist(),
            mend=mend if click else None,
            rng=np.random.default_rng([self.seed, number]),
        )
        work = self.plan.person.label(desk)
        viewer.submit(case.id, work.label, affine)
        return work.clicks, work.seconds

    def _score(self, viewer: Viewer, case: Case) -> tuple[dict[str, float], float]:
        """Return Dice by class, nan where a class is neither there nor found, and clDice of the classes united."""
        found, (truth, _) = viewer.segment(self.plan.task, case.image), _read(case)
        valid = truth != IGNORE
        found = np.where(valid, np.zeros_like(truth) if found is None else found, 0)
        truth = np.where(valid, truth, 0)
        scores = {name: dice(found == value, truth == value) for name, value in self._spec.label_values.items()}
        return scores, cl_dice(found > 0, truth > 0)


def as_json(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return points as JSON can say them."""
    return [json_safe(asdict(point)) for point in points]


def from_json(told: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return the points that `as_json` told."""
    return [_point(each) for each in told]


def _point(told: Mapping[str, Any]) -> Point:
    known = {key: math.nan if value is None else value for key, value in told.items()}
    classes = {name: math.nan if value is None else value for name, value in told["classes"].items()}
    return Point(**{**known, "classes": classes, "cases": tuple(told["cases"])})


def _read(case: Case) -> tuple[Label, NDArray[np.float64]]:
    """Return the true label of a case and its affine."""
    assert case.label is not None, "a rehearsal's cases have labels"
    grid = read_header(case.image)
    return load_label(case.label, grid.spatial_shape, grid.affine), grid.affine


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan
