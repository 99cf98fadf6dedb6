"""How things went over time: accuracy against labels used, accuracy against time, and what became of proposals."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isfinite

from lib.evaluation.bootstrap import Interval
from lib.records.ledger import Row
from lib.server.admin.state.annotators import Work, day_of, submitted, work
from lib.server.admin.state.versions import Listed, Task


@dataclass(frozen=True)
class Point:
    """A version in a plot. `served` tells whether it is, or was let into service by gate or admin.

    Args:
        version: Its name.
        labels: Labels that it learned from.
        created: When, None if its card does not tell.
        metric: What it was judged by.
        score: On the held-out cases.
        cl_dice: On the held-out cases.
        verdict: The last word about it.
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
        """Whether gate or admin let it into service."""
        return self.verdict in ("publish", "promote")


@dataclass(frozen=True)
class Week:
    """What became of proposals in the week that begins on a Monday."""

    begins: date
    work: Work


def points(task: Task) -> tuple[Point, ...]:
    """Return the versions of a task that were judged on held-out cases, the oldest first."""
    return tuple(_point(each) for each in reversed(task.versions) if isfinite(each.measured.score.mean))


def weeks(rows: Iterable[Row], task: str) -> tuple[Week, ...]:
    """Return the labels that began with a proposal of a task, by week.

    Args:
        rows: Label rows, oldest first.
        task: The task, of which a task that answers clicks is offered under several names that begin with its own.
    """
    found = defaultdict[date, list[Row]](list)
    for row in submitted(rows):
        if _began_with(str(row.body.get("task") or ""), task) and row.body.get("edit_ml") is not None:
            day = day_of(row)
            found[day - timedelta(days=day.weekday())].append(row)
    return tuple(Week(begins, work("", found[begins])) for begins in sorted(found))


def _began_with(name: str, task: str) -> bool:
    return name == task or name.removeprefix(f"{task}_") in ("2d", "3d", "labels")


def _point(listed: Listed) -> Point:
    try:
        created = datetime.fromisoformat(listed.created).astimezone()
    except ValueError:
        created = None
    verdict = str((listed.decision or {}).get("verdict") or "")
    measured = listed.measured
    return Point(listed.name, listed.labels, created, measured.metric, measured.score, measured.cl_dice, verdict)
