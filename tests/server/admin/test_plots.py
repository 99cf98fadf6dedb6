"""Plots as SVG with text, drawn once per data."""

import math
from datetime import UTC, date, datetime
from xml.etree import ElementTree

import pytest

from lib.evaluation.intervals import Interval
from lib.server.admin.plots import THEMES, drift, efficiency, proposals
from lib.server.admin.state.annotators import Work
from lib.server.admin.state.history import Point, Week


def point(labels: int, mean: float, verdict: str = "publish", cases: int = 3, metric: str = "Dice") -> Point:
    half = 0.02 if cases > 1 else math.nan
    score = Interval(mean, mean - half, mean + half, cases)
    return Point(f"v{labels}", labels, datetime(2026, 11, labels + 1, tzinfo=UTC), metric, score, score, verdict)


POINTS = (point(3, 0.6), point(7, 0.7, "hold"), point(12, 0.8, "reject", cases=1))
WEEKS = (
    Week(date(2026, 11, 16), Work("", 3, (), (0.0, 1.5, 2.0), 1)),
    Week(date(2026, 11, 23), Work("", 1, (), (0.0,), 1)),
)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_axes_have_labels(theme: object) -> None:
    assert {"training labels", "held-out score"} <= set(texts(efficiency(POINTS, theme)))
    assert {"11-04", "mean Dice", "clDice"} <= set(texts(drift(POINTS, theme)))
    assert {"11-16", "median change, ml", "accepted unchanged, %"} <= set(texts(proposals(WEEKS, theme)))


def test_restored_images_have_their_own_axis() -> None:
    shown = (point(3, 28.1, metric="PSNR"), point(7, 29.4, metric="PSNR"))
    assert "held-out PSNR, dB" in texts(efficiency(shown, THEMES["dark"]))
    words = set(texts(drift(shown, THEMES["dark"])))
    assert {"mean PSNR", "held-out PSNR, dB"} <= words and "clDice" not in words


def test_a_plot_is_drawn_once_per_data() -> None:
    drawn = efficiency(POINTS, THEMES["dark"])
    assert efficiency(tuple(POINTS), THEMES["dark"]) is drawn
    assert efficiency(POINTS[:2], THEMES["dark"]) != drawn != efficiency(POINTS, THEMES["light"])


def test_published_versions_have_their_own_markers() -> None:
    before, after = (efficiency((point(3, 0.6, verdict),), THEMES["dark"]) for verdict in ("hold", "publish"))
    assert before != after


def test_the_days_of_many_versions_do_not_overlap() -> None:
    points = tuple(point(n % 28, 0.7) for n in range(1, 60))
    assert len([text for text in texts(drift(points, THEMES["dark"])) if text.startswith("11-")]) <= 9


def test_a_score_below_one_half_is_inside_the_axes() -> None:
    assert "0.2" in " ".join(texts(efficiency((point(3, 0.1), point(4, 0.2)), THEMES["dark"])))
