"""Rods, balls and soft tissue against volumes worked by hand."""

import numpy as np
import pytest

from lib.data.scintigraphy.skeleton.canvas import SLAB_MM, SLABS, Canvas

PIXEL = 2.0


def blank() -> Canvas:
    return Canvas.blank((200, 120), PIXEL)


def integral(canvas: Canvas) -> float:
    """Return activity times mm^3."""
    return float(canvas.activity.sum()) * PIXEL**2


def test_rows_and_columns_of_positions() -> None:
    canvas = blank()
    assert canvas.column(0) == pytest.approx(59.5) and canvas.row(float(canvas.z[17, 0])) == pytest.approx(17)
    assert float(canvas.z[-1, 0]) == pytest.approx(PIXEL / 2 - 60)


def test_straight_rod_has_the_right_volume() -> None:
    """A cylinder of 100 mm with two round ends has the volume pi r^2 100 + 4/3 pi r^3; the activity is 2."""
    volume = np.pi * 20**2 * 100 + 4 / 3 * np.pi * 20**3
    canvas = blank()
    canvas.rods([(0, 0, 50), (0, 0, 150)], [20, 20], 2.0)
    assert integral(canvas) == pytest.approx(2 * volume, rel=0.01)


def test_segments_of_a_rod_do_not_add_up_where_they_meet() -> None:
    straight, bent = blank(), blank()
    straight.rods([(0, 0, 50), (0, 0, 150)], [12, 12], 1.0)
    bent.rods([(0, 0, 50), (0, 0, 90), (0, 0, 120), (0, 0, 150)], [12] * 4, 1.0)
    np.testing.assert_allclose(bent.activity, straight.activity, atol=1e-4)


def test_rod_along_the_line_of_sight_is_brighter_by_its_length() -> None:
    """A rod that spans 30 mm across and 40 mm in depth is 50 mm long."""
    flat, deep = blank(), blank()
    flat.rods([(-15, 0, 80), (15, 0, 80)], [5, 5], 1.0)
    deep.rods([(-15, -20, 80), (15, 20, 80)], [5, 5], 1.0)
    assert integral(deep) == pytest.approx(5 / 3 * integral(flat), rel=1e-4)


@pytest.mark.parametrize("depth", [0.0, 12.0, -47.0])
def test_ball_has_the_right_volume_and_depth(depth: float) -> None:
    canvas = blank()
    canvas.ball((10, depth, 100), (30, 10, 20), 1.5)
    assert integral(canvas) == pytest.approx(1.5 * 4 / 3 * np.pi * 30 * 10 * 20, rel=0.01)
    middles = (np.arange(SLABS) - (SLABS - 1) / 2) * SLAB_MM
    share = canvas.activity.sum((1, 2)) / canvas.activity.sum()
    assert float(share @ middles) == pytest.approx(depth, abs=0.1)
    rows, columns = np.nonzero(canvas.activity.sum(0))
    assert columns.mean() == pytest.approx(canvas.column(10), abs=0.1)
    assert rows.mean() == pytest.approx(canvas.row(100), abs=0.1)


def test_shell_is_the_difference_of_two_balls() -> None:
    canvas = blank()
    canvas.ball((0, 0, 100), (40, 40, 40), 1.0, wall_mm=5)
    assert integral(canvas) == pytest.approx(4 / 3 * np.pi * (40**3 - 35**3), rel=0.02)
    assert canvas.activity[:4].sum() == pytest.approx(canvas.activity[5:].sum(), rel=1e-4)


@pytest.mark.parametrize("grain_mm", [4.0, 16.0])
def test_random_uptake_has_the_given_spread_and_correlation_length(grain_mm: float) -> None:
    """The field has mean 1 and spread 0.3; its correlation is exp(-1/4) at one grain and exp(-4) at four."""
    canvas = blank()
    canvas.activity[:] = 5
    canvas.vary(grain_mm, 0.3, np.random.default_rng(0))
    logarithm = np.log(canvas.activity / 5)
    assert canvas.activity.mean() == pytest.approx(5, rel=0.02) and logarithm.std() == pytest.approx(0.3, rel=0.02)
    away = logarithm - logarithm.mean()
    for grains, expected in ((1, np.exp(-1 / 4)), (4, np.exp(-4))):
        shifted = np.roll(away, round(grains * grain_mm / PIXEL), axis=1)
        assert (away * shifted).mean() / away.var() == pytest.approx(expected, abs=0.05)


def test_empty_places_stay_empty() -> None:
    canvas = blank()
    canvas.ball((0, 0, 100), (20, 20, 20), 1.0)
    bare = canvas.activity == 0
    canvas.vary(4.0, 0.3, np.random.default_rng(0))
    assert not canvas.activity[bare].any()


def test_soft_tissue_fills_the_outline() -> None:
    canvas = blank()
    canvas.bulk((0, 10, 100), (40, 50, 30))
    canvas.flesh((0, 10, 100), (0, 10, 100), 20)  # inside the first shape
    assert canvas.front.max() == pytest.approx(60, abs=0.2) and canvas.back.min() == pytest.approx(-40, abs=0.2)
    canvas.fill(0.5)
    assert integral(canvas) == pytest.approx(0.5 * 4 / 3 * np.pi * 40 * 50 * 30, rel=0.01)
    assert not canvas.activity[:, canvas.front < canvas.back].any()


def test_shapes_outside_the_canvas_are_clipped() -> None:
    canvas = blank()
    canvas.rods([(0, 0, 2000), (0, 0, 3000)], [20, 20], 1.0)
    canvas.ball((5000, 0, 0), (20, 20, 20), 1.0)
    assert not canvas.activity.any()
