"""Judging whole cases: scores worked by hand, and detection of broken versions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec
from lib.jobs.judge import judge
from lib.models.weights import find_nonfinite_weight

SPEC = ImageSpec((2.0, 2.0, 2.0), (-1000.0, 400.0), (16, 16))
LABELS = ("low", "high")


class Thresholds(nn.Module):
    """Network that gives label 1 below a third of the window, 2 above two thirds, and background between.

    The window maps HU to [0, 1].
    """

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = torch.zeros_like(images) + self.bias
        return torch.cat([middle, 1 / 3 - images, images - 2 / 3], dim=1)


class Fails(Thresholds):
    error: Exception = IndexError("index out of range")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    def make(name: str, ignore: bool = False) -> Case:
        hu = np.full((16, 16, 8), -300, np.int16)
        hu[2:6], hu[10:14] = -1000, 400
        label = np.zeros(hu.shape, np.uint8)
        label[2:6], label[10:12] = 1, 2
        if ignore:
            label[12:14] = IGNORE
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        paths = [tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-label.nii.gz"]
        for voxels, path in zip((hu, label), paths, strict=True):
            nib.save(nib.Nifti1Image(voxels, affine), path)
        return Case(name, paths[0], paths[1], f"patient {name}")

    return make


def test_scores_match_values_worked_by_hand(make_case: Callable[..., Case]) -> None:
    first, second = judge(Thresholds(), [make_case("b"), make_case("a")], SPEC, LABELS, tubular=LABELS)
    assert (first.case, second.case, first.patient) == ("a", "b", "patient a")
    # Class 2: the prediction has four columns and the reference two, so Dice is 2 * 2 / (4 + 2).
    assert first.scores == {"low": 1.0, "high": pytest.approx(2 / 3)}
    assert first.cl_dice is not None and 0 < first.cl_dice <= 1
    assert first.finite and not first.constant and not first.fault and first.seconds > 0


def test_ignored_voxels_are_not_counted(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(), [make_case("a", ignore=True)], SPEC, LABELS, tubular=LABELS)
    assert judged.scores == {"low": 1.0, "high": 1.0} and judged.cl_dice == 1.0


def test_a_class_in_neither_prediction_nor_reference_has_no_score(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(), [make_case("a")], SPEC, (*LABELS, "third"))
    assert judged.scores["third"] is None


def test_a_constant_prediction_is_detected(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(bias=9.0), [make_case("a")], SPEC, LABELS, tubular=LABELS)
    assert judged.constant and judged.finite and judged.scores == {"low": 0.0, "high": 0.0} and judged.cl_dice == 0.0


@pytest.mark.parametrize("side", [4, 6])
def test_a_perfect_straight_tube_has_a_cldice_of_1(tmp_path: Path, side: int) -> None:
    """The skeleton of a tube of even width was empty, and a perfect mask had a clDice of 0."""
    hu, label = np.full((16, 16, 30), -300, np.int16), np.zeros((16, 16, 30), np.uint8)
    hu[5 : 5 + side, 5 : 5 + side], label[5 : 5 + side, 5 : 5 + side] = -1000, 1
    paths = [tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"]
    for voxels, path in zip((hu, label), paths, strict=True):
        nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    (judged,) = judge(Thresholds(), [Case("tube", *paths, "p")], SPEC, LABELS, tubular=("low",))
    assert judged.scores["low"] == 1.0 and judged.cl_dice == 1.0


def test_only_tubular_labels_have_a_cldice(make_case: Callable[..., Case]) -> None:
    """The prediction of "high" has twice the width of the reference, that of "low" is right."""
    case = make_case("a")
    assert judge(Thresholds(), [case], SPEC, LABELS)[0].cl_dice is None
    assert judge(Thresholds(), [case], SPEC, LABELS, tubular=("low",))[0].cl_dice == 1.0
    (high,) = judge(Thresholds(bias=9.0), [case], SPEC, LABELS, tubular=("high",))
    assert high.cl_dice == 0.0, "missed altogether"
    (broken,) = judge(Fails(), [case], SPEC, LABELS)
    assert broken.fault and broken.cl_dice is None


@pytest.mark.parametrize("bias", [float("nan"), float("inf")])
def test_a_network_with_nonfinite_weights_is_not_run(make_case: Callable[..., Case], bias: float) -> None:
    network = Fails(bias)
    (judged,) = judge(network, [make_case("a")], SPEC, LABELS)
    assert not judged.finite and not judged.fault
    assert (
        find_nonfinite_weight(network.state_dict()) == "bias" and find_nonfinite_weight(Thresholds().state_dict()) == ""
    )


def test_a_nonfinite_output_is_detected(make_case: Callable[..., Case]) -> None:
    class Overflows(Thresholds):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * torch.inf

    assert not judge(Overflows(), [make_case("a")], SPEC, LABELS)[0].finite


def test_a_version_that_raises_has_a_fault_and_scores_of_0(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Fails(), [make_case("a")], SPEC, LABELS)
    assert judged.fault == "IndexError: index out of range" and judged.scores == {"low": 0.0, "high": 0.0}


def test_an_error_of_memory_is_raised(make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "error", MemoryError("no room"))
    with pytest.raises(MemoryError):
        judge(Fails(), [make_case("a")], SPEC, LABELS)


def test_classes_that_a_label_does_not_cover_have_no_score(make_case: Callable[..., Case]) -> None:
    case = replace(make_case("a"), covered=("low",))
    (judged,) = judge(Thresholds(), [case], SPEC, LABELS, tubular=LABELS)
    assert judged.scores == {"low": 1.0, "high": None} and judged.cl_dice == 1.0
