"""Requests as viewers send them, and all kinds of invalid requests."""

from typing import Any

import pytest

from lib.data.findings import InputRejected
from lib.tasks.click.request import ClickRequest, Marks, parse_label_clicks, parse_object_clicks

SHAPE = (60, 50, 20)
LABELS = ("tube", "cavity")
OHIF = {
    "foreground": [[40, 28, 15]],
    "background": [],
    "result_extension": ".nrrd",
    "result_dtype": "uint8",
    "result_compress": False,
    "restore_label_idx": False,
}


def one(
    request: dict[str, Any], *, one_slice: bool = True, correcting: bool = False, shape: Any = SHAPE
) -> ClickRequest:
    return parse_object_clicks(request, shape, "airway", LABELS, one_slice=one_slice, correcting=correcting)


def labels(request: dict[str, Any], *, correcting: bool = False) -> ClickRequest:
    return parse_label_clicks(request, SHAPE, LABELS, correcting=correcting)


def test_without_a_slice_the_slice_of_the_click_is_used() -> None:
    assert one(OHIF) == ClickRequest({"airway": Marks(((40, 28, 15),))}, 15)
    assert one(OHIF, one_slice=False) == ClickRequest({"airway": Marks(((40, 28, 15),))}, None)


def test_only_clicks_on_the_slice_of_the_last_click_are_used() -> None:
    request = {"foreground": [[1, 1, 3], [2, 2, 7]], "background": [[4, 4, 3], [5, 5, 7]]}
    assert one(request) == ClickRequest({"airway": Marks(((2, 2, 7),), ((5, 5, 7),))}, 7)
    assert one({**request, "slice": -1}) == one(request)
    assert one({**request, "slice": 3}) == ClickRequest({"airway": Marks(((1, 1, 3),), ((4, 4, 3),))}, 3)
    assert len(one(request, one_slice=False).marks["airway"].foreground) == 2


def test_box_corners_may_come_in_any_order() -> None:
    request = {"label": "tube", "foreground": [], "background": [], "roi": [30, 10, 5, 25, 12, 4], "slice": 6}
    parsed = one({**request, "reset_state": True, "client_id": "user-xyz", "result_extension": [".nrrd", ".nii.gz"]})
    assert parsed == ClickRequest({"airway": Marks(box=((10, 5, 4), (30, 25, 12)))}, 6, "tube")
    assert one({"roi": [30, 10, 5, 25, 12, 4]}).slice_index == 8, "without a click or a slice, the middle of the box"
    assert one({"roi": [-5, 10, 5, 99, 12, 400]}).marks["airway"].box == ((0, 5, 12), (10, 49, 19))


def test_clicks_on_a_2d_image_may_have_two_indices() -> None:
    assert one({"foreground": [[3, 4]]}, shape=SHAPE[:2]) == one({"foreground": [[3, 4, 0]]}, shape=SHAPE[:2])
    assert one({"foreground": [[3, 4]]}, shape=SHAPE[:2]).slice_index == 0


def test_clicks_on_one_label_are_background_clicks_of_the_others() -> None:
    request = {"background": [[9, 9, 9]], "tube": [[1, 2, 3]], "cavity": [[4, 5, 6]], "other_task": []}
    parsed = labels(request)
    assert parsed.marks["tube"] == Marks(((1, 2, 3),), ((9, 9, 9), (4, 5, 6)))
    assert parsed.marks["cavity"] == Marks(((4, 5, 6),), ((9, 9, 9), (1, 2, 3)))
    assert list(labels({"tube": [[1, 2, 3]], "cavity": []}).marks) == ["tube"]


def test_foreground_and_box_apply_to_the_named_label() -> None:
    parsed = labels({"label": "cavity", "foreground": [[1, 1, 1]], "roi": [0, 5, 0, 5, 0, 5], "tube": [[2, 2, 2]]})
    assert parsed.marks["cavity"] == Marks(((1, 1, 1),), ((2, 2, 2),), ((0, 0, 0), (5, 5, 5)))
    assert parsed.marks["tube"].box is None and parsed.marks["tube"].background == ((1, 1, 1),)


def test_background_clicks_alone_can_correct_a_mask() -> None:
    assert one({"background": [[1, 1, 4]]}, correcting=True) == ClickRequest({"airway": Marks((), ((1, 1, 4),))}, 4)
    assert list(labels({"background": [[1, 1, 4]]}, correcting=True).marks) == ["tube", "cavity"]


WRONG = [
    ({"foreground": [[64, 1, 1]]}, "CLICK_OUTSIDE"),
    ({"foreground": [[1, -1, 1]]}, "CLICK_OUTSIDE"),
    ({"foreground": [[1, 1, 1]], "background": [[1, 1, 20]]}, "CLICK_OUTSIDE"),
    ({"foreground": [[1.5, 1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [[1.0, 1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [["1", 1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [[True, 1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [[None, 1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [[1, 1]]}, "CLICK_FORMAT"),
    ({"foreground": [1, 1, 1]}, "CLICK_FORMAT"),
    ({"foreground": "1,1,1"}, "CLICK_FORMAT"),
    ({"foreground": {"a": 1}}, "CLICK_FORMAT"),
    ({}, "NO_CLICKS"),
    ({"foreground": [], "background": [], "roi": []}, "NO_CLICKS"),
    ({"foreground": [], "background": [[1, 1, 1]]}, "NO_CLICKS"),
    ({"foreground": [[1, 1, 1]], "slice": 2}, "NO_CLICKS"),
    ({"foreground": [[1, 1, 1]], "label": "spleen"}, "UNKNOWN_LABEL"),
    ({"foreground": [[1, 1, 1]], "label": 3}, "UNKNOWN_LABEL"),
    ({"foreground": [[1, 1, 1]], "label": ["tube"]}, "UNKNOWN_LABEL"),
    ({"roi": [5, 5, 1, 9, 1, 3]}, "EMPTY_ROI"),
    ({"roi": [70, 90, 1, 9, 1, 3]}, "EMPTY_ROI"),
    ({"roi": [1, 9, 1, 9, 30, 40]}, "EMPTY_ROI"),
    ({"roi": [1, 9, 1, 9]}, "ROI_FORMAT"),
    ({"roi": [1, 9, 1, 9.5, 1, 3]}, "ROI_FORMAT"),
    ({"roi": "all"}, "ROI_FORMAT"),
    ({"foreground": [[1, 1, 1]], "slice": 20}, "SLICE_OUTSIDE"),
    ({"foreground": [[1, 1, 1]], "slice": "1"}, "SLICE_FORMAT"),
    ({"foreground": [[1, 1, 1]], "slice": 1.0}, "SLICE_FORMAT"),
]


@pytest.mark.parametrize(("request_", "code"), WRONG)
def test_invalid_clicks_for_one_object_are_rejected(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(InputRejected) as caught:
        one(request_)
    finding = caught.value.findings[0]
    assert finding.code == code and finding.reason and finding.remedy


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"tube": [[1, 1, 1]], "spleen": [[1, 1, 1]]}, "UNKNOWN_LABEL"),
        ({"tube": [[1, 1, 1]], "label": "spleen"}, "UNKNOWN_LABEL"),
        ({"foreground": [[1, 1, 1]]}, "UNKNOWN_LABEL"),
        ({"roi": [1, 9, 1, 9, 1, 3]}, "UNKNOWN_LABEL"),
        ({"tube": [], "background": [[1, 1, 1]]}, "NO_CLICKS"),
        ({"tube": [[99, 1, 1]]}, "CLICK_OUTSIDE"),
        ({"tube": 7}, "CLICK_FORMAT"),
    ],
)
def test_invalid_clicks_for_labels_are_rejected(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(InputRejected) as caught:
        labels(request_)
    assert caught.value.findings[0].code == code
