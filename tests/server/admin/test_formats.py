"""Times with their zone, durations and sizes as text, and hostile values escaped."""

import math
import time
from collections.abc import Iterator

import pytest
from markupsafe import Markup

from lib.evaluation.intervals import Interval
from lib.server.admin.formats import duration, interval, moment, number, short, size


def words(html: Markup) -> str:
    return html.striptags()


@pytest.fixture
def in_nepal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server whose time zone is 5 h 45 min ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("value", [1764107163.4, "2025-11-25T21:46:03.4+00:00"])
def test_a_moment_is_iso_8601_in_the_servers_time_zone(in_nepal: None, value: float | str) -> None:
    expected = '<time datetime="2025-11-26T03:31:03+05:45">2025-11-26 03:31:03<span class="zone">+05:45</span></time>'
    assert moment(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, "-"), ("", "-"), ("<b>", "&lt;b&gt;"), (1e300, "1e+300")])
def test_values_that_are_not_times_are_escaped(value: float | str | None, expected: str) -> None:
    assert moment(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        (math.inf, "-"),
        (-3, "0 s"),
        (59.4, "59 s"),
        (95, "1 min 35 s"),
        (3725, "1 h 02 min"),
        (2e5, "2 d 7 h"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


def test_sizes_and_numbers() -> None:
    assert [size(count) for count in (None, 2048, 3 << 20, 5 << 30, 2 << 40)] == [
        "-",
        "2 KiB",
        "3.0 MiB",
        "5.0 GiB",
        "2.0 TiB",
    ]
    assert (number(1.25, 2, "ml"), number(3.0, 0), number(None), number(math.nan)) == ("1.25 ml", "3", "-", "-")


def test_intervals_include_the_number_of_cases() -> None:
    assert words(interval(Interval(0.8, 0.7, 0.9, 5))) == "0.800 [0.700, 0.900] 5 cases"
    assert words(interval(Interval(0.8, math.nan, math.nan, 1))) == "0.800 1 case"
    assert (
        interval(Interval(math.nan, math.nan, math.nan, 0)) == interval(None)
        and words(interval(None)) == "not recorded"
    )


def test_long_texts_are_cut() -> None:
    assert short("x" * 400) == "x" * 299 + "…" and short(7) == "7"
