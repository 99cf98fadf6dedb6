"""Click validation: the objects of the validation cases, and the Dice after three clicks."""

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
    CaseEmbeddings,
    ClickValidation,
    mean_dice_by_class,
    run_click_session,
    select_click_targets,
    to_predictor_clicks,
)
from lib.learning.loop.ranks import Ranks
from lib.models.sam.predictor import ClickPredictor, Clicks
from tests.models.sam.toys import Bright, toy_network

SPEC = ImageSpec((1.0, 1.0, 1.0), (0.0, -1000.0), (64, 64))
LABELS = ("low", "high")
ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Write a dark bar in bright tissue on most slices; one half has label 1, the other half label 2."""

    def make(name: str) -> Case:
        hu, label = np.zeros((40, 40, 10), np.int16), np.zeros((40, 40, 10), np.uint8)
        hu[8:32, 16:24] = -1000
        label[8:20, 16:24], label[20:32, 16:24] = 1, 2
        label[..., :2], label[..., 9] = 0, 0
        label[8:11, 16:19, 1] = 1  # 9 pixels are fewer than the smallest object
        label[30:32, 16:24, 4] = IGNORE
        paths = [tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"]
        for voxels, path in zip((hu, label), paths, strict=True):
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        return Case(name, paths[0], paths[1], name)

    return make


def test_slices_are_evenly_spaced_and_single_labels_alternate(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    reading = read(case.image, SPEC, case.label)
    targets = list(select_click_targets(reading, SPEC, LABELS, "all", slices=3))
    assert [(target.name, target.plane.key) for target in targets] == [
        ("all", 4), ("low", 4), ("all", 5), ("high", 5), ("all", 6), ("low", 6),
    ]  # fmt: skip
    whole, low = targets[:2]
    assert whole.target.sum() == 22 * 8 and low.target.sum() == 12 * 8
    assert not whole.valid[30:32, 16:24].any() and whole.valid.sum() == 40 * 40 - 16
    # The inverted window makes dark voxels bright; the plane has the spacing of the slice.
    assert (
        whole.plane.image[0, 20, 20] == 1 and whole.plane.image[0, 0, 0] == 0 and whole.plane.spacing_mm == (1.0, 1.0)
    )
    again = list(select_click_targets(reading, SPEC, LABELS, "all", slices=3))
    assert all((a.target == b.target).all() and a.name == b.name for a, b in zip(targets, again, strict=True))


def test_a_single_labelled_slice_is_used_once_and_an_empty_label_gives_no_target(
    make_case: Callable[..., Case],
) -> None:
    case = make_case("a")
    reading = read(case.image, SPEC, case.label)
    assert reading.label is not None
    reading.label[..., :5], reading.label[..., 6:] = 0, 0
    assert [target.plane.key for target in select_click_targets(reading, SPEC, ("low", "high"), "all")] == [5, 5]
    reading.label[:] = 0
    assert list(select_click_targets(reading, SPEC, LABELS, "all")) == []


def test_a_click_session_ends_when_the_mask_is_right_or_the_clicks_are_used(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    whole, low = list(select_click_targets(read(case.image, SPEC, case.label), SPEC, LABELS, "all", slices=1))
    predictor = ClickPredictor(toy_network(64, kind=Bright, rank=0), cache=CaseEmbeddings().get_or_make)
    session, answers = run_click_session(predictor, whole)
    assert session.dice_after(CLICKS) > 0.95 and len(answers) == len(session.clicks)
    # The toy network always segments the whole bar of 24 rows, and the target has 12 of them.
    session, answers = run_click_session(predictor, low)
    assert len(session.clicks) == len(answers) == CLICKS and session.dice_after(CLICKS) == pytest.approx(
        2 / 3, abs=0.05
    )
    assert [click.foreground for click in session.clicks] == [True, False, False]


def test_clicks_are_separated_into_foreground_and_background() -> None:
    assert to_predictor_clicks([Click(1, 2, True), Click(3, 4, False), Click(5, 6, True)]) == Clicks(
        ((1.0, 2.0), (5.0, 6.0)), ((3.0, 4.0),)
    )


def test_a_cached_embedding_is_computed_once() -> None:
    embeddings, made = CaseEmbeddings(), []
    for key in ("a", "b", "a"):
        assert embeddings.get_or_make(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b"]


def test_mean_dice_by_class_leaves_out_nan() -> None:
    dice_by_name = {"low": [0.5, 1.0, float("nan")], "high": [float("nan")]}
    assert mean_dice_by_class(dice_by_name, ("low", "high", "third")) == {"low": 0.75, "high": None, "third": None}


def test_validation_scores_every_case_in_the_order_of_names(make_case: Callable[..., Case]) -> None:
    validation = ClickValidation([make_case("b"), make_case("a")], SPEC, LABELS, "all")
    scores = validation(toy_network(64, kind=Bright, rank=0), ALONE)
    assert [score["case"] for score in scores] == ["a", "b"]
    assert scores[0]["scores"].keys() == {"all", "low", "high"} and scores[0]["scores"] == scores[1]["scores"]
    assert scores[0]["scores"]["all"] > 0.95 and scores[0]["scores"]["low"] == pytest.approx(2 / 3, abs=0.05)


def test_cases_are_divided_among_processes(make_case: Callable[..., Case]) -> None:
    """Two processes score every case once; together they give the scores of a single process."""

    class Half(Ranks):
        def gather(self, items: list) -> list:
            return items

    network = toy_network(64, kind=Bright, rank=0)
    validation = ClickValidation([make_case(name) for name in "cab"], SPEC, LABELS, "all")
    halves = [validation(network, Half(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    assert [[score["case"] for score in half] for half in halves] == [["b", "c"], ["a"]]
    whole = validation(network, ALONE)
    assert sorted([*halves[0], *halves[1]], key=lambda score: score["case"]) == whole


def test_a_validation_case_without_a_label_is_refused(make_case: Callable[..., Case]) -> None:
    case = make_case("a")
    with pytest.raises(ValueError, match="validation cases without a label: unlabelled"):
        ClickValidation([case, Case("unlabelled", case.image, None, "p")], SPEC, LABELS, "all")


def test_a_label_that_does_not_cover_all_labels_gives_single_labels_only(make_case: Callable[..., Case]) -> None:
    reading = read(make_case("a").image, SPEC, make_case("a").label)
    every = [target.name for target in select_click_targets(reading, SPEC, LABELS, "all")]
    single = [target.name for target in select_click_targets(reading, SPEC, LABELS, "all", covered=LABELS[:1])]
    assert "all" in every and single and "all" not in single
