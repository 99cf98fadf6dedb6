"""The versions of every task, with their states, their scores on the held-out cases and the last decision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from lib.evaluation.intervals import Interval, mean_interval
from lib.jobs.gate import DICE, METRICS
from lib.jobs.publish import TaskVersions, rollback_target
from lib.records.versions import STARTER, Version, find_version
from lib.tasks.serving.models import list_models, show_model
from lib.tasks.serving.weights import open_task_versions
from lib.tasks.spec import AppSpec

VERSIONS_SHOWN = 50


@dataclass(frozen=True)
class VersionScores:
    """The scores of a version on the held-out cases, as recorded in its card.

    Args:
        metric: Name of the metric: "Dice", or for restored images "PSNR" or "SSIM".
        classes: Mean score by class, with its 95 % interval over cases.
        score: Mean score over the classes, with its interval.
        cl_dice: Mean clDice of the union of the classes, with its interval; without cases for restored images.
    """

    metric: str
    classes: Mapping[str, Interval]
    score: Interval
    cl_dice: Interval


@dataclass(frozen=True)
class VersionEntry:
    """A version in the list of its task.

    Args:
        name: Name of the version.
        state: State of the version: "served", "waiting" or "kept".
        created: Time of creation, ISO 8601.
        parent: Name of the version that the training started from.
        labels: Number of labels that the version was trained on.
        scores: Scores on the held-out cases.
        decision: The last decision about the version; None if there is none.
    """

    name: str
    state: str
    created: str
    parent: str
    labels: int
    scores: VersionScores
    decision: Mapping[str, Any] | None


@dataclass(frozen=True)
class VersionList:
    """The versions of one task, newest first.

    Args:
        name: Name of the task.
        served: Name of the served version, "starter", or empty if no version is served.
        waiting: Name of the version that waits for an admin's decision; empty if there is none.
        former: Name of the version that a rollback would serve; empty if there is none.
        metric: Name of the metric by which versions are compared.
        versions: The newest versions.
        older: Number of older versions that are not listed.
    """

    name: str
    served: str
    waiting: str
    former: str
    metric: str
    versions: Sequence[VersionEntry]
    older: int


def task(app_dir: str | Path, spec: AppSpec, name: str) -> VersionList:
    """Return a task with its versions.

    Raises:
        SpecError: If there is no such task.
    """
    place, models = open_task_versions(app_dir, spec.task(name)), list_models(app_dir, name)[name]
    newest = list(models["versions"].items())[: -VERSIONS_SHOWN - 1 : -1]
    entries = [_entry(find_version(place.root, version), facts) for version, facts in newest]
    try:
        former = rollback_target(place)
    except ValueError:
        former = ""
    metric = METRICS[spec.task(name).gate.metric]
    return VersionList(
        name, models["served"], models["waiting"], former, metric, entries, len(models["versions"]) - len(newest)
    )


@dataclass(frozen=True)
class Change:
    """A change of the served version, for an admin to confirm.

    Args:
        task: Name of the task.
        now: Name of the version that is served now.
        then: Name of the version that would be served after the change.
        sides: Scores of `now` and `then`; None for a version without a card.
        decision: The last decision about `then`; None if there is none.
    """

    task: str
    now: str
    then: str
    sides: tuple[VersionScores | None, VersionScores | None]
    decision: Mapping[str, Any] | None


def change(app_dir: str | Path, spec: AppSpec, name: str, version: str = "") -> Change:
    """Return the change that serving another version would make.

    Args:
        app_dir: The app's folder.
        spec: The app's specification.
        name: Name of the task.
        version: Name of the version; empty for the version that a rollback would serve.
    Raises:
        ValueError: If there is no such task or version, or no version to roll back to.
    """
    place = open_task_versions(app_dir, spec.task(name))
    then = find_version(place.root, version).name if version else rollback_target(place)
    sides = find_scores(place, place.served), find_scores(place, then)
    decisions = show_model(app_dir, name, then)["decisions"] if then != STARTER else []
    return Change(name, place.served, then, sides, decisions[-1] if decisions else None)


def find_scores(place: TaskVersions, name: str) -> VersionScores | None:
    """Return the scores of a version of a task; None for the starter and for an empty name.

    Raises:
        ValueError: If there is no such version.
    """
    return None if name in (STARTER, "") else read_card(find_version(place.root, name).path)[1]


def _entry(version: Version, facts: Mapping[str, Any]) -> VersionEntry:
    labels, scores = read_card(version.path)
    return VersionEntry(
        version.name, facts["state"], facts["created"], facts["parent"], labels, scores, facts["decision"]
    )


@lru_cache(maxsize=1024)
def read_card(folder: Path) -> tuple[int, VersionScores]:
    """Return the number of training labels of a version and its scores; cached, since cards never change.

    Args:
        folder: Folder of the version.
    """
    card = Version(folder.name, folder).card
    rows = card.get("metrics") or ()
    metric = next((key for key in METRICS if any(isinstance(row.get(key), Mapping) for row in rows)), DICE)
    cases = [row[metric] for row in rows if isinstance(row.get(metric), Mapping)]
    names = dict.fromkeys(name for case in cases for name in case)
    classes = {name: _interval([case.get(name) for case in cases]) for name in names}
    means = [fmean(known) if (known := _known(case.values())) else None for case in cases]
    cl_dice = _interval([row.get("cl_dice") for row in rows])
    return len(card.get("data") or ()), VersionScores(METRICS[metric], classes, _interval(means), cl_dice)


def _interval(values: Sequence[float | None]) -> Interval:
    return mean_interval([math.nan if value is None else value for value in values])


def _known(values: Any) -> list[float]:
    return [value for value in values if value is not None]
