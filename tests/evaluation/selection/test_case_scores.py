"""The numbers of a case whose maps are drawn by hand."""

import numpy as np
import pytest
import torch

from lib.evaluation.selection.case_scores import Maps, case_scores
from lib.evaluation.selection.uncertainty import opinion

SPACING_MM = (1.0, 1.0, 2.0)


@pytest.fixture
def maps() -> Maps:
    """Two answers about a bar of class 1; the second breaks it. A ball of class 2 is nowhere."""
    made = Maps.empty(2, (30, 20, 10))
    made.labels[:, 5:25, 8:11, 4:7] = 1
    made.labels[1, 14:16] = 0
    made.label[5:25, 8:11, 4:7] = 1
    made.foreground[5:25, 8:11, 4:7] = 255
    made.entropy[14:16, 8:11, 4:7], made.information[14:16, 8:11, 4:7] = 0.5, 0.25
    made.entropy[0, 0, 0] = 0.6  # something far off, that no answer found
    return made


def test_by_hand(maps: Maps) -> None:
    told = case_scores(maps, {"bar": 1, "ball": 2}, SPACING_MM, top_ml=0.018, margin_mm=0.0)
    every, bar = told["all"], told["classes"]["bar"]
    assert every["volume_ml"] == bar["volume_ml"] == pytest.approx(20 * 3 * 3 * 2 / 1000)
    # The top 0.018 ml are 9 voxels: of all, the far one and 8 of the gap; in the bar's region, the gap only.
    assert every["entropy_top"] == pytest.approx((0.6 + 8 * 0.5) / 9, rel=1e-3)
    assert bar["entropy_top"] == pytest.approx(0.5) and bar["information_top"] == pytest.approx(0.25)
    assert every["entropy_roi"] == bar["entropy_roi"] == pytest.approx(0.5 * 2 / 20)
    assert every["components"] == bar["components"] == 1.0 and 0 < bar["centreline"] < 0.2
    assert every["fragility"] == 0.0 and "fragility" not in bar


def test_what_is_nowhere_has_no_uncertainty(maps: Maps) -> None:
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
def test_a_larger_field_of_view_changes_no_number(maps: Maps, over: str) -> None:
    maps.entropy[0, 0, 0] = 0
    pad = ((9, 30), (40, 5), (8, 20))
    plain = [np.pad(getattr(maps, name), pad) for name in ("entropy", "information", "foreground", "label")]
    padded = Maps(*plain, np.pad(maps.labels, ((0, 0), *pad)))
    told = [case_scores(each, {"bar": 1}, SPACING_MM, top_ml=0.036, margin_mm=3.0) for each in (maps, padded)]
    for name in (f"entropy_{over}", f"information_{over}", "components", "centreline"):
        small, large = (each["classes"]["bar"][name] for each in told)
        assert large == pytest.approx(small, rel=1e-6) and small > 0
        assert told[1]["all"][name] == pytest.approx(told[0]["all"][name], rel=1e-6)


def test_takes_opinions_slice_by_slice() -> None:
    logits = torch.randn(3, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    maps = Maps.empty(3, (5, 4, 6))
    for start in (0, 2, 4):
        maps.take(start, opinion(logits[..., start : start + 2]))
    whole = opinion(logits)
    assert np.allclose(maps.entropy, whole.entropy, atol=1e-3) and (maps.labels == whole.labels.numpy()).all()
    assert np.allclose(maps.information, whole.information, atol=1e-3)
    assert np.allclose(maps.foreground / 255, whole.foreground, atol=0.5 / 255)
    assert (maps.label == whole.label.numpy()).all()
