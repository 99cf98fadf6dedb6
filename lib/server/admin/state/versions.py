"""The versions of every task: what is served, what waits, how each did when it was judged, and the last word on it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from lib.evaluation.bootstrap import Interval, mean_interval
from lib.jobs.gate import DICE, METRICS
from lib.jobs.publish import Shelf, rollback_target
from lib.records.versions import STARTER, Version, find_version
from lib.tasks.serving.models import list_models, show_model
from lib.tasks.serving.weights import shelf
from lib.tasks.spec import AppSpec

SHOWN = 50
SEED = 20


@dataclass(frozen=True)
class Measured:
    """How a version did on the held-out cases, as its card has it.

    Args:
        metric: What was measured: "Dice", or of restored images "PSNR" or "SSIM".
        classes: It, of each class, with its interval over cases.
        score: The mean over classes.
        cl_dice: Of the union of the classes; of images, none.
    """

    metric: str
    classes: Mapping[str, Interval]
    score: Interval
    cl_dice: Interval


@dataclass(frozen=True)
class Listed:
    """A version in the list of its task.

    Args:
        name: Its name.
        state: "served", "waiting" or "kept".
        created: When, ISO 8601.
        parent: The version it started from.
        labels: Labels that it learned from.
        measured: How it did.
        decision: The last one about it; None if there is none.
    """

    name: str
    state: str
    created: str
    parent: str
    labels: int
    measured: Measured
    decision: Mapping[str, Any] | None


@dataclass(frozen=True)
class Task:
    """The versions of one task, the newest first.

    Args:
        name: The task's name.
        served: The version that is served, "starter", or empty if nothing is.
        waiting: The version that awaits the admin's word; empty if none does.
        former: What a rollback would serve; empty if nothing was served before.
        metric: What its versions are compared by.
        versions: The newest.
        older: How many more there are.
    """

    name: str
    served: str
    waiting: str
    former: str
    metric: str
    versions: Sequence[Listed]
    older: int


def task(app_dir: str | Path, spec: AppSpec, name: str) -> Task:
    """Return a task with its versions.

    Raises:
        SpecError: If there is no such task.
    """
    place, told = shelf(app_dir, spec.task(name)), list_models(app_dir, name)[name]
    newest = list(told["versions"].items())[: -SHOWN - 1 : -1]
    listed = [_listed(find_version(place.root, version), facts) for version, facts in newest]
    try:
        former = rollback_target(place)
    except ValueError:
        former = ""
    metric = METRICS[spec.task(name).gate.metric]
    return Task(name, told["served"], told["waiting"], former, metric, listed, len(told["versions"]) - len(newest))


@dataclass(frozen=True)
class Change:
    """What an admin's word would change.

    Args:
        task: The task's name.
        now: The version that is served.
        then: The version that would be.
        sides: How both did, `now` first; None for one without a card of ours.
        decision: The last one about `then`; None if there is none.
    """

    task: str
    now: str
    then: str
    sides: tuple[Measured | None, Measured | None]
    decision: Mapping[str, Any] | None


def change(app_dir: str | Path, spec: AppSpec, name: str, version: str = "") -> Change:
    """Return what it would mean to serve a version.

    Args:
        app_dir: The app's folder.
        spec: The app.
        name: The task's name.
        version: The version; empty for the one that a rollback would serve.
    Raises:
        ValueError: If there is no such task or version, or nothing was served before.
    """
    place = shelf(app_dir, spec.task(name))
    then = find_version(place.root, version).name if version else rollback_target(place)
    sides = measured_of(place, place.served), measured_of(place, then)
    decisions = show_model(app_dir, name, then)["decisions"] if then != STARTER else []
    return Change(name, place.served, then, sides, decisions[-1] if decisions else None)


def measured_of(place: Shelf, name: str) -> Measured | None:
    """Return how a version of a task did; None for the starter and for nothing.

    Raises:
        ValueError: If there is no such version.
    """
    return None if name in (STARTER, "") else measured(find_version(place.root, name).path)[1]


def _listed(version: Version, facts: Mapping[str, Any]) -> Listed:
    labels, found = measured(version.path)
    return Listed(version.name, facts["state"], facts["created"], facts["parent"], labels, found, facts["decision"])


@lru_cache(maxsize=1024)
def measured(folder: Path) -> tuple[int, Measured]:
    """Return the number of labels that a version learned from and how it did; read once, for cards never change.

    Args:
        folder: The version's.
    """
    card = Version(folder.name, folder).card
    rows = card.get("metrics") or ()
    metric = next((each for each in METRICS if any(isinstance(row.get(each), Mapping) for row in rows)), DICE)
    cases = [row[metric] for row in rows if isinstance(row.get(metric), Mapping)]
    names = dict.fromkeys(name for case in cases for name in case)
    classes = {name: _interval([case.get(name) for case in cases]) for name in names}
    means = [fmean(known) if (known := _known(case.values())) else None for case in cases]
    cl_dice = _interval([row.get("cl_dice") for row in rows])
    return len(card.get("data") or ()), Measured(METRICS[metric], classes, _interval(means), cl_dice)


def _interval(values: Sequence[float | None]) -> Interval:
    return mean_interval([math.nan if value is None else value for value in values], seed=SEED)


def _known(values: Any) -> list[float]:
    return [value for value in values if value is not None]
