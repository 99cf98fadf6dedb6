"""Work per person and day, from recorded values only."""

from collections.abc import Callable
from datetime import date

import pytest

from lib.records.ledger import Row
from lib.server.admin.state.annotators import by_day, by_person


@pytest.fixture
def row() -> Callable[..., Row]:
    def made(who: str, day: int, source: str = "submitted", **facts: float) -> Row:
        body = {"tag": "final", "source": source, "who": who, **facts}
        return Row(1, f"2026-11-{day:02d}T12:00:00+00:00", "label", "ct_0", body, "", "")

    return made


def test_work_of_every_person(row: Callable[..., Row]) -> None:
    rows = [
        row("Anna", 1, seconds=60, edit_ml=0.0),
        row("Anna", 1, seconds=120, edit_ml=2.0),
        row("Anna", 2),
        row("", 2, seconds=30),
        row("Anna", 2, source="predicted", seconds=1e6),
    ]
    anna, unsigned = by_person(rows)
    assert (anna.who, anna.labels, anna.days, anna.total_seconds, anna.median_seconds) == ("Anna", 3, 2, 180, 90)
    assert (anna.per_hour, anna.median_edit_ml, anna.unchanged) == (40, 1.0, 0.5)
    assert (unsigned.who, unsigned.median_edit_ml, unsigned.unchanged) == ("", None, None)


def test_days_come_newest_first(row: Callable[..., Row]) -> None:
    days = by_day([row("Anna", 1), row("Ben", 3), row("Anna", 3), row("Anna", 3)])
    assert [(day, [each.who for each in work]) for day, work in days] == [
        (date(2026, 11, 3), ["Anna", "Ben"]),
        (date(2026, 11, 1), ["Anna"]),
    ]
    assert len(by_day([row("Anna", day) for day in range(1, 29)], days=14)) == 14


def test_a_person_without_recorded_times_has_no_speed(row: Callable[..., Row]) -> None:
    (anna,) = by_person([row("Anna", 1), row("Anna", 1, seconds=0)])
    assert anna.per_hour is None and anna.total_seconds == 0
