"""The data of the plots: scores of versions over time, and changes in proposals by week."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isfinite

from lib.evaluation.intervals import Interval
from lib.records.ledger import Row
from lib.server.admin.state.annotators import Work, day_of, submitted, work
from lib.server.admin.state.versions import VersionEntry, VersionList


@dataclass(frozen=True)
class Point:
    """A version in a plot.

    Args:
        version: Name of the version.
        labels: Number of labels that the version was trained on.
        created: Time of creation; None if the card has none.
        metric: Name of the metric of `score`.
        score: Mean score over the held-out cases, with its interval.
        cl_dice: Mean clDice over the held-out cases, with its interval.
        verdict: Verdict of the last decision about the version; empty if there is none.
    """

    version: str
    labels: int
    created: datetime | None
    metric: str
    score: Interval
    cl_dice: Interval
    verdict: str

    @property
    def published(self) -> bool:
        """Whether the gate or an admin put the version into service."""
        return self.verdict in ("publish", "promote")


@dataclass(frozen=True)
class Week:
    """The labels made from proposals in one week, which begins on the Monday `begins`."""

    begins: date
    work: Work


def points(task: VersionList) -> tuple[Point, ...]:
    """Return the versions of a task that were judged on held-out cases, oldest first."""
    return tuple(_point(entry) for entry in reversed(task.versions) if isfinite(entry.scores.score.mean))


def weeks(rows: Iterable[Row], task: str) -> tuple[Week, ...]:
    """Return the labels that were made from a proposal of a task, by week.

    Args:
        rows: Label rows of the ledger, oldest first.
        task: Name of the task. A click task also matches the names under which it is offered, such as ``NAME_2d``.
    """
    found = defaultdict[date, list[Row]](list)
    for row in submitted(rows):
        if _is_proposal_of(str(row.body.get("task") or ""), task) and row.body.get("edit_ml") is not None:
            day = day_of(row)
            found[day - timedelta(days=day.weekday())].append(row)
    return tuple(Week(begins, work("", found[begins])) for begins in sorted(found))


def _is_proposal_of(name: str, task: str) -> bool:
    return name == task or name.removeprefix(f"{task}_") in ("2d", "3d", "labels")


def _point(entry: VersionEntry) -> Point:
    try:
        created = datetime.fromisoformat(entry.created).astimezone()
    except ValueError:
        created = None
    verdict = str((entry.decision or {}).get("verdict") or "")
    scores = entry.scores
    return Point(entry.name, entry.labels, created, scores.metric, scores.score, scores.cl_dice, verdict)
