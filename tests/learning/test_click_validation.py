"""What is asked of held-out cases, and what an annotator gets after three clicks."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec, read
from lib.evaluation.metrics.clicks import Click
from lib.learning.click_validation import (
    CLICKS,
    ClickValidation,
    Kept,
    as_clicks,
    class_dice,
    converse,
    draw_objects,
)
from lib.learning.loop.ranks import Ranks
from lib.models.sam.predictor import ClickPredictor, Clicks
from tests.models.sam.toys import Bright, toy_network

SPEC = ImageSpec((1.0, 1.0, 1.0), (0.0, -1000.0), (64, 64))
LABELS = ("low", "high")
ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Write a dark bar in bright tissue: the left half is one label, the right half another, over most slices."""

    def make(name: str) -> Case:
        hu, label = np.zeros((40, 40, 10), np.int16), np.zeros((40, 40, 10), np.uint8)
        hu[8:32, 16:24] = -1000
        label[8:20, 16:24], label[20:32, 16:24] = 1, 2
        label[..., :2], label[..., 9] = 0, 0
        label[8:11, 16:19, 1] = 1  # 9 pixels: too few
        label[30:32, 16:24, 4] = IGNORE
        paths = [tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"]
        for voxels, path in zip((hu, label), paths, strict=True):
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        return Case(name, paths[0], paths[1], name)

    return make


def test_slices_are_spread_and_labels_take_turns(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    reading = read(case.image, SPEC, case.label)
    things = list(draw_objects(reading, SPEC, LABELS, "all", slices=3))
    assert [(thing.name, thing.plane.key) for thing in things] == [
        ("all", 4), ("low", 4), ("all", 5), ("high", 5), ("all", 6), ("low", 6),
    ]  # fmt: skip
    whole, low = things[:2]
    assert whole.target.sum() == 22 * 8 and low.target.sum() == 12 * 8
    assert not whole.valid[30:32, 16:24].any() and whole.valid.sum() == 40 * 40 - 16
    # Dark is bright, on the slice's own spacing.
    assert whole.plane.image[20, 20] == 1 and whole.plane.image[0, 0] == 0 and whole.plane.spacing_mm == (1.0, 1.0)
    again = list(draw_objects(reading, SPEC, LABELS, "all", slices=3))
    assert all((a.target == b.target).all() and a.name == b.name for a, b in zip(things, again, strict=True))


def test_one_slice_is_asked_once_and_none_never(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    reading = read(case.image, SPEC, case.label)
    assert reading.label is not None
    reading.label[..., :5], reading.label[..., 6:] = 0, 0
    assert [thing.plane.key for thing in draw_objects(reading, SPEC, ("low", "high"), "all")] == [5, 5]
    reading.label[:] = 0
    assert list(draw_objects(reading, SPEC, LABELS, "all")) == []


def test_a_conversation_ends_when_the_mask_is_right(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    whole, low = list(draw_objects(read(case.image, SPEC, case.label), SPEC, LABELS, "all", slices=1))
    predictor = ClickPredictor(toy_network(64, kind=Bright, rank=0), keep=Kept().keep)
    session, answers = converse(predictor, whole)
    assert session.after(CLICKS) > 0.95 and len(answers) == len(session.clicks)
    # It finds the whole bar, whatever is wanted: 12 columns of 24.
    session, answers = converse(predictor, low)
    assert len(session.clicks) == len(answers) == CLICKS and session.after(CLICKS) == pytest.approx(2 / 3, abs=0.05)
    assert [click.foreground for click in session.clicks] == [True, False, False]


def test_clicks_are_handed_on_by_kind() -> None:
    assert as_clicks([Click(1, 2, True), Click(3, 4, False), Click(5, 6, True)]) == Clicks(
        ((1.0, 2.0), (5.0, 6.0)), ((3.0, 4.0),)
    )


def test_what_is_kept_is_made_once() -> None:
    kept, made = Kept(), []
    for key in ("a", "b", "a"):
        assert kept.keep(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b"]


def test_means_of_classes() -> None:
    found = {"low": [0.5, 1.0, float("nan")], "high": [float("nan")]}
    assert class_dice(found, ("low", "high", "third")) == {"low": 0.75, "high": None, "third": None}


def test_scores_every_case_by_name(make_case: Callable[..., Case]) -> None:
    validation = ClickValidation([make_case("b"), make_case("a")], SPEC, LABELS, "all")
    scores = validation(toy_network(64, kind=Bright, rank=0), ALONE)
    assert [score["case"] for score in scores] == ["a", "b"]
    assert scores[0]["scores"].keys() == {"all", "low", "high"} and scores[0]["scores"] == scores[1]["scores"]
    assert scores[0]["scores"]["all"] > 0.95 and scores[0]["scores"]["low"] == pytest.approx(2 / 3, abs=0.05)


def test_cases_are_shared_out(make_case: Callable[..., Case]) -> None:
    """Two processes judge every case once; what they gather is what one finds alone."""

    class Half(Ranks):
        def gather(self, items: list) -> list:
            return items

    network = toy_network(64, kind=Bright, rank=0)
    validation = ClickValidation([make_case(name) for name in "cab"], SPEC, LABELS, "all")
    halves = [validation(network, Half(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    assert [[score["case"] for score in half] for half in halves] == [["b", "c"], ["a"]]
    whole = validation(network, ALONE)
    assert sorted([*halves[0], *halves[1]], key=lambda score: score["case"]) == whole


def test_cases_without_a_label_are_refused(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    with pytest.raises(ValueError, match="without a label cannot be judged: bare"):
        ClickValidation([case, Case("bare", case.image, None, "p")], SPEC, LABELS, "all")
