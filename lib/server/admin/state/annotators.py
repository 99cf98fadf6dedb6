"""Who labelled how much: labels, seconds of work and what was changed in proposals, per person and day."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median

from lib.evaluation.time_saved import TimeSaved, time_saved
from lib.records.labels import SUBMITTED
from lib.records.ledger import Row

DAYS_SHOWN = 14


@dataclass(frozen=True)
class Work:
    """Labels of one person, on one day or on all.

    Args:
        who: The person; empty where nobody logged in.
        labels: How many were submitted.
        seconds: The recorded times of work.
        edits_ml: By how much labels differ from the proposal that they began with, where there was one.
        days: Different days.
    """

    who: str
    labels: int
    seconds: tuple[float, ...]
    edits_ml: tuple[float, ...]
    days: int

    @property
    def total_seconds(self) -> float | None:
        """All recorded work; None if none was recorded."""
        return sum(self.seconds) if self.seconds else None

    @property
    def median_seconds(self) -> float | None:
        """Of one label."""
        return median(self.seconds) if self.seconds else None

    @property
    def per_hour(self) -> float | None:
        """Labels per hour of recorded work."""
        return 3600 * len(self.seconds) / total if (total := self.total_seconds) else None

    @property
    def median_edit_ml(self) -> float | None:
        """Of one label that began with a proposal."""
        return median(self.edits_ml) if self.edits_ml else None

    @property
    def unchanged(self) -> float | None:
        """Share of the proposals that were accepted as they were."""
        return sum(edit == 0 for edit in self.edits_ml) / len(self.edits_ml) if self.edits_ml else None


def day_of(row: Row) -> date:
    """Return the day of a row in the server's zone."""
    return datetime.fromisoformat(row.at).astimezone().date()


def submitted(rows: Iterable[Row]) -> list[Row]:
    """Return the labels that people submitted."""
    return [row for row in rows if row.body.get("source") == SUBMITTED]


def by_person(rows: Iterable[Row]) -> list[Work]:
    """Return the work of every person, who labelled most first."""
    found = defaultdict[str, list[Row]](list)
    for row in submitted(rows):
        found[str(row.body.get("who") or "")].append(row)
    return sorted((work(who, own) for who, own in found.items()), key=lambda each: (-each.labels, each.who))


def by_day(rows: Iterable[Row], days: int = DAYS_SHOWN) -> list[tuple[date, list[Work]]]:
    """Return the work of every person on each of the last days that had any, the newest first."""
    found = defaultdict[date, list[Row]](list)
    for row in submitted(rows):
        found[day_of(row)].append(row)
    return [(day, by_person(found[day])) for day in sorted(found, reverse=True)[:days]]


def saved(rows: Iterable[Row]) -> TimeSaved | tuple[int, int]:
    """Return what proposals save, or how many labels there are without and with a proposal, if these are too few.

    The first label of each study counts, if its work was timed. A lot decides who gets no proposal, and no person.
    """
    arms: dict[bool, list[float]] = {True: [], False: []}
    seen: set[str] = set()
    for row in submitted(rows):
        seconds = row.body.get("seconds")
        if row.subject not in seen and seconds is not None:
            arms[bool(row.body.get("blank"))].append(float(seconds))
        seen.add(row.subject)
    return time_saved(arms[True], arms[False], seed=0) or (len(arms[True]), len(arms[False]))


def work(who: str, rows: Sequence[Row]) -> Work:
    """Return what rows of submitted labels say of the work behind them."""
    return Work(
        who,
        len(rows),
        tuple(seconds for row in rows if (seconds := row.body.get("seconds")) is not None),
        tuple(edit for row in rows if (edit := row.body.get("edit_ml")) is not None),
        len({day_of(row) for row in rows}),
    )
