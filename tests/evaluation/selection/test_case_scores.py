"""Scores of a case whose maps are drawn by hand."""

import numpy as np
import pytest
import torch

from lib.evaluation.selection.case_scores import UncertaintyMaps, case_scores
from lib.evaluation.selection.uncertainty import summarise_samples

SPACING_MM = (1.0, 1.0, 2.0)


@pytest.fixture
def maps() -> UncertaintyMaps:
    """Return two predictions of a bar of class 1, the second with a gap; class 2 (a ball) is absent."""
    drawn = UncertaintyMaps.empty(2, (30, 20, 10))
    drawn.labels[:, 5:25, 8:11, 4:7] = 1
    drawn.labels[1, 14:16] = 0
    drawn.label[5:25, 8:11, 4:7] = 1
    drawn.foreground[5:25, 8:11, 4:7] = 255
    drawn.entropy[14:16, 8:11, 4:7], drawn.information[14:16, 8:11, 4:7] = 0.5, 0.25
    drawn.entropy[0, 0, 0] = 0.6  # a distant voxel that no prediction labels
    return drawn


def test_scores_by_hand(maps: UncertaintyMaps) -> None:
    scores = case_scores(maps, {"bar": 1, "ball": 2}, SPACING_MM, top_ml=0.018, margin_mm=0.0)
    union, bar = scores["all"], scores["classes"]["bar"]
    assert union["volume_ml"] == bar["volume_ml"] == pytest.approx(20 * 3 * 3 * 2 / 1000)
    # The top 0.018 ml are 9 voxels: the distant one and 8 of the gap for the union, only the gap for the bar.
    assert union["entropy_top"] == pytest.approx((0.6 + 8 * 0.5) / 9, rel=1e-3)
    assert bar["entropy_top"] == pytest.approx(0.5) and bar["information_top"] == pytest.approx(0.25)
    assert union["entropy_roi"] == bar["entropy_roi"] == pytest.approx(0.5 * 2 / 20)
    assert union["components"] == bar["components"] == 1.0 and 0 < bar["centreline"] < 0.2
    assert union["fragility"] == 0.0 and "fragility" not in bar


def test_an_absent_class_has_no_uncertainty(maps: UncertaintyMaps) -> None:
    ball = case_scores(maps, {"ball": 2}, SPACING_MM, top_ml=1.0, margin_mm=5.0)["classes"]["ball"]
    assert ball == {
        "volume_ml": 0.0,
        "entropy_top": None,
        "entropy_roi": None,
        "information_top": None,
        "information_roi": None,
        "components": 0.0,
        "centreline": 0.0,
    }


@pytest.mark.parametrize("over", ["top", "roi"])
def test_a_larger_field_of_view_changes_no_score(maps: UncertaintyMaps, over: str) -> None:
    maps.entropy[0, 0, 0] = 0
    pad = ((9, 30), (40, 5), (8, 20))
    plain = [np.pad(getattr(maps, name), pad) for name in ("entropy", "information", "foreground", "label")]
    padded = UncertaintyMaps(*plain, np.pad(maps.labels, ((0, 0), *pad)))
    scores = [case_scores(item, {"bar": 1}, SPACING_MM, top_ml=0.036, margin_mm=3.0) for item in (maps, padded)]
    for name in (f"entropy_{over}", f"information_{over}", "components", "centreline"):
        small, large = (item["classes"]["bar"][name] for item in scores)
        assert large == pytest.approx(small, rel=1e-6) and small > 0
        assert scores[1]["all"][name] == pytest.approx(scores[0]["all"][name], rel=1e-6)


def test_maps_are_filled_slab_by_slab() -> None:
    logits = torch.randn(3, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    maps = UncertaintyMaps.empty(3, (5, 4, 6))
    for start in (0, 2, 4):
        maps.fill(start, summarise_samples(logits[..., start : start + 2]))
    whole = summarise_samples(logits)
    assert np.allclose(maps.entropy, whole.entropy, atol=1e-3) and (maps.labels == whole.labels.numpy()).all()
    assert np.allclose(maps.information, whole.information, atol=1e-3)
    assert np.allclose(maps.foreground / 255, whole.foreground, atol=0.5 / 255)
    assert (maps.label == whole.label.numpy()).all()
