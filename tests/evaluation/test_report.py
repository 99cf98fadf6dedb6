"""Scores of cases that are small enough to score by hand."""

import json

import numpy as np
import pytest

from lib.evaluation.report import UNION, evaluate_case, json_safe, summarise
from lib.evaluation.table import summary_table

LABELS = {"pharynx": 1, "larynx": 2, "trachea": 3}
SPACING = (2.0, 5.0, 10.0)  # a voxel is 0.1 ml
SHAPE_SCORES = {"nsd", "hd95_mm", "cl_dice", "betti_0_error"}


def _reference() -> np.ndarray:
    """Return ten voxels of pharynx above ten of larynx, without trachea."""
    label = np.zeros((8, 8, 24), np.uint8)
    label[4, 4, 2:12] = 1
    label[4, 4, 12:22] = 2
    return label


def _prediction() -> np.ndarray:
    """Return a prediction whose boundary is two voxels off, with a stray voxel of pharynx in a far corner."""
    label = _reference()
    label[4, 4, 12:14] = 1
    label[0, 0, 0] = 1
    return label


def test_scores_by_hand() -> None:
    case = evaluate_case(_prediction(), _reference(), SPACING, LABELS)
    pharynx, larynx, airway = (case["classes"][name] for name in ("pharynx", "larynx", UNION))
    assert pharynx["dice"] == pytest.approx(20 / 23) and pharynx["iou"] == pytest.approx(10 / 13)
    assert larynx["dice"] == pytest.approx(16 / 18)
    assert airway["dice"] == pytest.approx(40 / 41)
    assert pharynx["volume_ml"] == pytest.approx(1.3) and pharynx["reference_volume_ml"] == pytest.approx(1.0)
    assert pharynx["betti"] == [2, 0, 0] and pharynx["reference_betti"] == [1, 0, 0]
    assert (pharynx["betti_0_error"], larynx["betti_0_error"], airway["betti_0_error"]) == (1, 0, 1)
    assert larynx["hd95_mm"] == pytest.approx(15.5)  # 20, 10, 0 x 8 from the reference: 10 + 0.55 * 10
    assert airway["tree_length_detected"] == airway["branches_detected"] == 1.0
    assert case["unconnected_ml"] == pytest.approx(0.1) and "outside_ml" not in case
    assert case["mean"]["dice"] == pytest.approx((20 / 23 + 16 / 18) / 2)
    assert list(case["classes"]) == [*LABELS, UNION]


def test_an_absent_class_has_no_score() -> None:
    trachea = evaluate_case(_prediction(), _reference(), SPACING, LABELS)["classes"]["trachea"]
    assert all(trachea[score] is None for score in ("dice", "iou", "nsd", "hd95_mm", "cl_dice"))
    assert trachea["volume_ml"] == 0 and trachea["betti_0_error"] == 0


DIAGONAL_MM = (16**2 + 40**2 + 240**2) ** 0.5
"""Diagonal of 8 x 8 x 24 voxels of 2 x 5 x 10 mm."""


@pytest.mark.parametrize("kind", ["missed", "invented"])
def test_a_missed_or_invented_class_has_the_worst_scores(kind: str) -> None:
    """Its HD95 is the diagonal of the image, so that missing a class never improves a mean."""
    without = np.where(_reference() == 2, 0, _reference())
    sides = (without, _reference()) if kind == "missed" else (_reference(), without)
    case = evaluate_case(*sides, SPACING, LABELS)
    larynx, pharynx = case["classes"]["larynx"], case["classes"]["pharynx"]
    assert larynx["dice"] == larynx["nsd"] == larynx["cl_dice"] == 0
    assert larynx["hd95_mm"] == pytest.approx(DIAGONAL_MM)
    assert larynx[kind] and not larynx[{"missed": "invented", "invented": "missed"}[kind]]
    assert not any(case["classes"]["trachea"][name] for name in ("missed", "invented")), "absent in both"
    assert pharynx["hd95_mm"] == 0 and case["mean"]["hd95_mm"] == pytest.approx(DIAGONAL_MM / 2)


def test_misses_are_counted_over_cases() -> None:
    without = np.where(_reference() == 2, 0, _reference())
    pairs = [(without, _reference()), (without, _reference()), (_reference(), without), (_reference(), _reference())]
    larynx = summarise([evaluate_case(*pair, SPACING, LABELS) for pair in pairs])["classes"]["larynx"]
    assert (larynx["missed"], larynx["invented"]) == (2, 1)
    assert larynx["hd95_mm"]["count"] == 4 and larynx["hd95_mm"]["mean"] == pytest.approx(DIAGONAL_MM * 3 / 4)
    table = summary_table(summarise([evaluate_case(*pair, SPACING, LABELS) for pair in pairs]))
    assert "Missed / invented" in table and "| 2 / 1 |" in table


def test_the_tolerance_is_never_below_the_spacing() -> None:
    sides = _prediction(), _reference()
    assert evaluate_case(*sides, SPACING, LABELS)["tolerance_mm"] == 10.0
    assert evaluate_case(*sides, (0.5, 0.5, 0.8), LABELS)["tolerance_mm"] == 1.0
    assert evaluate_case(*sides, SPACING, LABELS, tolerance_mm=12.0)["tolerance_mm"] == 12.0
    with pytest.raises(ValueError, match=r"NSD tolerance of 9\.9 mm is below the voxel spacing of 10 mm"):
        evaluate_case(*sides, SPACING, LABELS, tolerance_mm=9.9)
    cases = [evaluate_case(*sides, spacing, LABELS) for spacing in (SPACING, (1.0, 1.0, 1.0), SPACING)]
    assert summarise(cases)["tolerances_mm"] == [1.0, 10.0]


def test_ignored_voxels_are_not_scored() -> None:
    """The errors inside the airway lie on ignored voxels, so the Dice is that of the other voxels."""
    reference, prediction = _reference(), _prediction()
    reference[4, 4, 12:14] = 255
    reference[0, 0, 0] = 255
    prediction[0, 1, 1] = 1  # touches the ignored voxel but is not ignored: wrong, but not an unconnected pocket
    case = evaluate_case(prediction, reference, SPACING, LABELS, hull=np.zeros(reference.shape, bool))
    assert case["classes"]["larynx"]["dice"] == 1.0
    assert case["classes"]["pharynx"]["dice"] == pytest.approx(20 / 21)
    assert case["unconnected_ml"] == 0.0
    assert case["outside_ml"] == pytest.approx(1.9)  # 10 + 8 + 1 voxels; the ignored ones are not counted


def test_a_perfect_score_does_not_depend_on_the_position() -> None:
    label = _reference()
    shifted = np.pad(label, ((3, 9), (0, 2), (5, 0)))
    here, there = (evaluate_case(one, one, SPACING, LABELS) for one in (label, shifted))
    assert here == there
    assert here["mean"] == {"dice": 1.0, "iou": 1.0, "nsd": 1.0, "hd95_mm": 0.0, "cl_dice": 1.0}


def test_light_has_no_shape_scores_and_agrees_on_the_others() -> None:
    light = evaluate_case(_prediction(), _reference(), SPACING, LABELS, light=True)
    full = evaluate_case(_prediction(), _reference(), SPACING, LABELS)
    for name, scores in light["classes"].items():
        assert not SHAPE_SCORES & set(scores)
        assert scores == {key: full["classes"][name][key] for key in scores}
    assert light["mean"] == {key: full["mean"][key] for key in ("dice", "iou")}


def test_one_label_called_airway_is_its_own_union() -> None:
    case = evaluate_case((_prediction() > 0).astype(int), (_reference() > 0).astype(int), SPACING, {UNION: 1})
    assert list(case["classes"]) == [UNION]
    assert case["mean"]["dice"] == case["classes"][UNION]["dice"] == pytest.approx(40 / 41)


@pytest.mark.parametrize("light", [True, False])
def test_empty_and_two_dimensional_cases(light: bool) -> None:
    empty = np.zeros((6, 6, 6), np.uint8)
    assert evaluate_case(empty, empty, SPACING, LABELS, light=light)["mean"]["dice"] is None
    flat = evaluate_case(_prediction()[4], _reference()[4], SPACING[1:], LABELS, light=light)
    assert flat["classes"]["larynx"]["dice"] == pytest.approx(16 / 18)
    assert flat["classes"]["larynx"]["volume_ml"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": np.zeros((8, 8, 23), np.uint8)}, "do not match"),
        ({"spacing_mm": (1.0, 1.0)}, "do not match"),
        ({"labels": {}}, "expected labels"),
        ({"labels": {"background": 0}}, "expected labels"),
        ({"labels": {"unknown": 255}}, "expected labels"),
        ({"labels": {UNION: 1, "larynx": 2}}, "union"),
        ({"prediction": np.full((8, 8, 24), 300)}, "prediction has values"),
        ({"prediction": np.full((8, 8, 24), -1)}, "prediction has values"),
    ],
)
def test_arguments_that_do_not_match_are_refused(change: dict, message: str) -> None:
    arguments = {"prediction": _prediction(), "reference": _reference(), "spacing_mm": SPACING, "labels": LABELS}
    with pytest.raises(ValueError, match=message):
        evaluate_case(**(arguments | change))


def test_summary_has_means_and_intervals() -> None:
    predictions = (_prediction(), _reference(), _reference())
    cases = [evaluate_case(one, _reference(), SPACING, LABELS) for one in predictions]
    summary = summarise(cases)
    larynx = summary["classes"]["larynx"]
    assert summary["count"] == 3 and larynx["dice"]["count"] == 3
    assert larynx["dice"]["mean"] == pytest.approx((16 / 18 + 2) / 3)
    # The deviation of 8/9, 1, 1 is 1/9 / sqrt(3); Student's 0.99 quantile of two degrees of freedom is 6.9646.
    assert larynx["dice"]["mean"] - larynx["dice"]["low"] == pytest.approx(6.9646 / 27, rel=1e-4)
    assert summary["classes"]["trachea"]["dice"] == {"mean": None, "low": None, "high": None, "count": 0}
    assert summary["unconnected_ml"]["mean"] == pytest.approx(0.1 / 3)
    assert "betti" not in larynx and "outside_ml" not in summary
    assert summary == summarise(cases)
    json.dumps([cases, summary], allow_nan=False)


def test_json_safe_replaces_numpy_numbers_nan_and_inf() -> None:
    nested = {"a": np.float32(0.5), 1: [np.nan, float("inf"), np.int64(3)], "b": (np.bool_(True), None, "text")}
    nested["c"] = np.array([[1.0, np.nan]])
    assert json_safe(nested) == {"a": 0.5, "1": [None, None, 3], "b": [True, None, "text"], "c": [[1.0, None]]}


def test_classes_that_the_reference_does_not_cover_are_not_scored() -> None:
    reference = np.where(_reference() == 1, 1, 0)
    case = evaluate_case(_prediction(), reference, SPACING, LABELS, covered=("pharynx", "trachea"))
    whole = evaluate_case(_prediction(), _reference(), SPACING, LABELS)
    assert case["classes"].keys() == {"pharynx", "trachea"} and case["covered"] == ["pharynx", "trachea"]
    assert case["classes"]["pharynx"] == whole["classes"]["pharynx"]
    assert case["unconnected_ml"] == pytest.approx(0.1), "the larynx is no false positive"
    summary = summarise([case, whole])
    assert [summary["classes"][name]["dice"]["count"] for name in ("pharynx", "larynx", UNION)] == [2, 1, 1]
