"""Camera against values worked by hand: attenuation, resolution, scatter, views and Poisson counts."""

import dataclasses

import numpy as np
import pytest

from lib.data.scintigraphy.skeleton.camera import FWHM_OF_SIGMA, Camera, draw_camera, draw_counts
from lib.data.scintigraphy.skeleton.canvas import Canvas

CLEAN = Camera(scatter_fraction=0.0, air=0.0)


def box_with_ball(depth: float, *, x: float = 0.0) -> Canvas:
    """Return a slab of flesh, 100 mm to the front and to the back, without uptake, around a small ball."""
    canvas = Canvas.blank((160, 160), 2.0)
    canvas.front[:], canvas.back[:] = 100, -100
    canvas.ball((x, depth, 100), (6, 6, 6), 1.0)
    return canvas


def test_attenuation_by_depth() -> None:
    """The source is 60 mm in front of the middle: behind 40 mm of tissue in one view, and 160 mm in the other."""
    front, back = CLEAN.mean_rates(box_with_ball(60.0)).sum((1, 2))
    assert front / back == pytest.approx(np.exp(0.0154 * 120), rel=1e-3)


def test_resolution_by_distance() -> None:
    """Sources 60 mm in front of and behind the middle are 70 and 190 mm from the collimator."""
    for depth, distance in ((60.0, 70.0), (-60.0, 190.0)):
        seen = CLEAN.mean_rates(box_with_ball(depth))[0].astype(float)
        rows = seen.sum(1) / seen.sum()
        place = np.arange(len(rows))
        spread_mm = 2 * np.sqrt(rows @ np.square(place - rows @ place))
        ball_mm = 6 / np.sqrt(5)
        fwhm = np.hypot(3.8, 1.8 + 0.045 * distance)
        assert CLEAN.sigma_mm(distance) == pytest.approx(fwhm / FWHM_OF_SIGMA)
        assert spread_mm == pytest.approx(np.hypot(fwhm / FWHM_OF_SIGMA, ball_mm), rel=0.05)


def test_scatter_adds_its_share_and_spreads() -> None:
    canvas = box_with_ball(0.0)
    clean = CLEAN.mean_rates(canvas)
    scattered = dataclasses.replace(CLEAN, scatter_fraction=0.35, scatter_mm=20.0).mean_rates(canvas)
    assert scattered.sum() / clean.sum() == pytest.approx(1.35, rel=0.01)
    assert scattered[0, 80 - 15, 80] > 5 * clean[0, 80 - 15, 80]


def test_background_counts() -> None:
    canvas = box_with_ball(0.0)
    clean, seen = CLEAN.mean_rates(canvas), dataclasses.replace(CLEAN, air=0.5).mean_rates(canvas)
    np.testing.assert_allclose(
        seen - clean, 0.5 * clean.mean((1, 2), keepdims=True).repeat(160, 1).repeat(160, 2), rtol=1e-3
    )


def test_posterior_view_is_mirrored() -> None:
    front, back = CLEAN.mean_rates(box_with_ball(0.0, x=80.0))
    assert front.sum(0).argmax() == pytest.approx(79.5 + 40, abs=1) and back.sum(0).argmax() == pytest.approx(
        79.5 - 40, abs=1
    )


def test_counts_are_poisson() -> None:
    counts = draw_counts(np.full((300, 300), 7.0), np.random.default_rng(0))
    assert counts.dtype == np.int32
    assert counts.mean() == pytest.approx(7, abs=0.05) and counts.var() == pytest.approx(7, rel=0.03)


def test_camera_depends_on_its_seed() -> None:
    drawn = [draw_camera(np.random.default_rng(seed)) for seed in range(40)]
    assert drawn[3] == draw_camera(np.random.default_rng(3)) and len(set(drawn)) == 40
    assert all(15 <= c.gap_mm <= 60 and 0.15 <= c.scatter_fraction <= 0.45 and 0.002 <= c.air <= 0.02 for c in drawn)
