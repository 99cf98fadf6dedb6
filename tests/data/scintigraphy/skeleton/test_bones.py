"""The painted body: inside the image, bones inside soft tissue, growth plates of children, and sites of lesions."""

import dataclasses

import numpy as np
import pytest

from lib.data.scintigraphy.skeleton import bones
from lib.data.scintigraphy.skeleton.bones import paint
from lib.data.scintigraphy.skeleton.canvas import Canvas
from lib.data.scintigraphy.skeleton.figure import Figure, draw_figure


def painted(figure: Figure) -> tuple[Canvas, dict]:
    canvas = Canvas.blank((464, 128), 4.52)
    return canvas, paint(canvas, figure, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(4))
def test_body_is_inside_the_image_and_bones_inside_the_body(seed: int) -> None:
    figure = draw_figure(np.random.default_rng(seed))
    canvas, sites = painted(figure)
    body = canvas.front > canvas.back
    assert not body[0].any() and not body[-1].any()
    rows = np.nonzero(body.any(1))[0]
    assert np.ptp(rows) * 4.52 == pytest.approx(figure.height_mm, rel=0.06)
    total = canvas.activity.sum(0)
    assert total[~body].sum() < 0.02 * total.sum()
    assert set(sites) >= {"spine", "ribs", "pelvis", "femur", "skull", "humerus"}


def test_sites_of_lesions_are_on_bones() -> None:
    canvas, sites = painted(draw_figure(np.random.default_rng(5)))
    uptake = canvas.activity.sum(0) / np.maximum(canvas.front - canvas.back, 1)
    flesh = np.median(uptake[canvas.front > canvas.back])
    for region, places in sites.items():
        there = [uptake[round(canvas.row(z)), round(canvas.column(x))] for (x, _, z), _ in places]
        assert np.median(there) > 1.5 * flesh, region


def test_growth_plates_raise_uptake_in_knees_below_17_years(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bones, "WORN_FRACTION", 0.0)
    figure = dataclasses.replace(draw_figure(np.random.default_rng(2)), height_mm=1500.0)
    knees = []
    for age in (16.9, 17.1):
        canvas, _ = painted(dataclasses.replace(figure, age_years=age))
        row = round(canvas.row(figure.hip_mm * 0.52))
        knees.append(canvas.activity.sum(0)[row - 8 : row + 8].max())
    assert knees[0] > 1.5 * knees[1]


@pytest.mark.parametrize(("child", "worn", "seen"), [(True, 1.0, False), (False, 1.0, True), (False, 0.0, False)])
def test_only_adults_have_worn_joints(child: bool, worn: float, seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bones, "WORN_FRACTION", worn)
    rng = np.random.default_rng(2)
    painter = bones.Painter(Canvas.blank((464, 128), 4.52), draw_figure(rng, child=child), rng)
    painter.joint((50.0, 0.0, 800.0), 20)
    canvas = painter.canvas
    rows, columns = np.nonzero(canvas.activity.sum(0))
    assert (len(rows) > 0) == seen
    if seen:
        assert rows.mean() == pytest.approx(canvas.row(800), abs=0.5) and np.ptp(columns) * 4.52 <= 40


def test_spine_shows_vertebrae(monkeypatch: pytest.MonkeyPatch) -> None:
    """Along the spine, uptake rises and falls once per vertebra."""
    monkeypatch.setattr(bones, "GRAIN_MM", ())
    figure = draw_figure(np.random.default_rng(4), child=True)
    canvas = Canvas.blank((928, 256), 2.26)
    paint(canvas, figure, np.random.default_rng(0))
    shares = np.linspace(5, 10, 5 * 8 + 1) / bones.VERTEBRAE
    places = [figure.spine(share) for share in shares]
    line = np.array([canvas.activity.sum(0)[round(canvas.row(z)), round(canvas.column(x))] for x, _, z in places])
    middles, discs = line[4::8], line[8:-1:8]
    assert (middles[1:] > 1.05 * discs).all() and (middles[:-1] > 1.05 * discs).all()


def test_uptake_varies_within_bones(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = draw_figure(np.random.default_rng(4), child=False)
    grained, _ = painted(figure)
    monkeypatch.setattr(bones, "GRAIN_MM", ())
    even, _ = painted(figure)
    bone = even.activity > 10 * np.median(even.activity[even.activity > 0])
    assert 0.05 < np.log(grained.activity[bone] / even.activity[bone]).std() < 0.5
