"""The work of annotators per person and day: number of labels, seconds of work and changes in proposals."""

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
    """The submitted labels of one person, on one day or on all days.

    Args:
        who: Name of the person; empty if the person was not signed in.
        labels: Number of submitted labels.
        seconds: Recorded working times, in seconds.
        edits_ml: Volume changed in the proposal, in ml, for labels that were made from a proposal.
        days: Number of days with labels.
    """

    who: str
    labels: int
    seconds: tuple[float, ...]
    edits_ml: tuple[float, ...]
    days: int

    @property
    def total_seconds(self) -> float | None:
        """Sum of the recorded working times, in seconds; None if none was recorded."""
        return sum(self.seconds) if self.seconds else None

    @property
    def median_seconds(self) -> float | None:
        """Median working time of a label, in seconds; None if none was recorded."""
        return median(self.seconds) if self.seconds else None

    @property
    def per_hour(self) -> float | None:
        """Labels per hour of recorded work; None if none was recorded."""
        return 3600 * len(self.seconds) / total if (total := self.total_seconds) else None

    @property
    def median_edit_ml(self) -> float | None:
        """Median volume changed in a proposal, in ml; None without proposals."""
        return median(self.edits_ml) if self.edits_ml else None

    @property
    def unchanged(self) -> float | None:
        """Share of the proposals that were accepted unchanged; None without proposals."""
        return sum(edit == 0 for edit in self.edits_ml) / len(self.edits_ml) if self.edits_ml else None


def day_of(row: Row) -> date:
    """Return the day of a row in the server's time zone."""
    return datetime.fromisoformat(row.at).astimezone().date()


def submitted(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of labels that annotators submitted."""
    return [row for row in rows if row.body.get("source") == SUBMITTED]


def by_person(rows: Iterable[Row]) -> list[Work]:
    """Return the work of every person, most labels first."""
    found = defaultdict[str, list[Row]](list)
    for row in submitted(rows):
        found[str(row.body.get("who") or "")].append(row)
    return sorted((work(who, own) for who, own in found.items()), key=lambda person: (-person.labels, person.who))


def by_day(rows: Iterable[Row], days: int = DAYS_SHOWN) -> list[tuple[date, list[Work]]]:
    """Return the work of every person on each of the last `days` days with labels, newest first."""
    found = defaultdict[date, list[Row]](list)
    for row in submitted(rows):
        found[day_of(row)].append(row)
    return [(day, by_person(found[day])) for day in sorted(found, reverse=True)[:days]]


def saved(rows: Iterable[Row]) -> TimeSaved | tuple[int, int]:
    """Return the time that proposals save, or the numbers of labels without and with a proposal if they are too few.

    Only the first label of a study counts, and only with a recorded time. Studies without a proposal are selected at
    random, not by a person.
    """
    arms: dict[bool, list[float]] = {True: [], False: []}
    seen: set[str] = set()
    for row in submitted(rows):
        seconds = row.body.get("seconds")
        if row.subject not in seen and seconds is not None:
            arms[bool(row.body.get("blank"))].append(float(seconds))
        seen.add(row.subject)
    return time_saved(arms[True], arms[False]) or (len(arms[True]), len(arms[False]))


def work(who: str, rows: Sequence[Row]) -> Work:
    """Return the work of a person from the rows of the submitted labels."""
    return Work(
        who,
        len(rows),
        tuple(seconds for row in rows if (seconds := row.body.get("seconds")) is not None),
        tuple(edit for row in rows if (edit := row.body.get("edit_ml")) is not None),
        len({day_of(row) for row in rows}),
    )
