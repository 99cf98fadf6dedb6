"""Persons of all ages: sizes and proportions."""

import dataclasses

import numpy as np
import pytest

from lib.data.scintigraphy.skeleton.figure import draw_figure


def test_children_and_adults() -> None:
    rng = np.random.default_rng(0)
    children = [draw_figure(rng, child=True) for _ in range(50)]
    grown = [draw_figure(rng, child=False) for _ in range(50)]
    assert all(f.growing for f in children) and not any(f.growing for f in grown)
    assert np.mean([f.height_mm for f in children]) < 1450 < np.mean([f.height_mm for f in grown])
    either = [draw_figure(rng).growing for _ in range(200)]
    assert np.mean(either) == pytest.approx(0.75, abs=0.1)


def test_small_child_has_a_relatively_larger_head() -> None:
    figure = draw_figure(np.random.default_rng(0))
    small, tall = (dataclasses.replace(figure, age_years=age, height_mm=h) for age, h in ((2, 850), (30, 1750)))
    assert small.head_mm / small.height_mm > 1.4 * tall.head_mm / tall.height_mm


def test_spine_runs_from_the_hips_to_the_head() -> None:
    figure = draw_figure(np.random.default_rng(1))
    heights = [figure.spine(share)[2] for share in np.linspace(0, 1, 9)]
    assert heights == sorted(heights)
    assert figure.hip_mm < heights[0] and figure.height_mm - figure.head_mm < heights[-1] < figure.height_mm
