"""Test fields of view."""

import numpy as np
import pytest

from lib.data.phantom.view import FIELDS_OF_VIEW, draw_view


@pytest.mark.parametrize("fov", FIELDS_OF_VIEW)
def test_a_view_has_a_limited_size_and_an_origin(fov):
    for seed in range(10):
        view = draw_view(np.random.default_rng(seed), np.ones(3), fov=fov)
        assert view.kind == fov
        assert 8 <= view.shape[2] <= 252
        assert max(view.shape[:2]) <= 340
        assert 0.7 <= view.spacing_mm[0] <= 1.3
        assert np.allclose(view.affine[:3, 3], view.origin_mm)


def test_all_kinds_are_drawn():
    kinds = {draw_view(np.random.default_rng(seed), np.ones(3)).kind for seed in range(120)}
    assert kinds == set(FIELDS_OF_VIEW)


def test_an_unknown_kind_is_refused_with_the_known_kinds():
    with pytest.raises(ValueError, match="neck_chest"):
        draw_view(np.random.default_rng(0), np.ones(3), fov="knee")
