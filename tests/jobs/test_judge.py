"""Judging: scores worked by hand, and every way in which a version can be broken."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import IGNORE, ImageSpec
from lib.jobs.judge import broken_weight, judge

SPEC = ImageSpec((2.0, 2.0, 2.0), (-1000.0, 400.0), (16, 16))
LABELS = ("low", "high")


class Thresholds(nn.Module):
    """Label 1 below a third of the window, 2 above two thirds, background between; the window maps HU to [0, 1]."""

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


def test_scores_worked_by_hand(make_case: Callable[..., Case]) -> None:
    first, second = judge(Thresholds(), [make_case("b"), make_case("a")], SPEC, LABELS)
    assert (first.case, second.case, first.patient) == ("a", "b", "patient a")
    # Of class 2 four columns are found where two are: 2 * 2 / (4 + 2).
    assert first.scores == {"low": 1.0, "high": pytest.approx(2 / 3)}
    assert first.cl_dice is not None and 0 < first.cl_dice <= 1
    assert first.finite and not first.constant and not first.fault and first.seconds > 0


def test_ignored_voxels_count_for_nobody(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(), [make_case("a", ignore=True)], SPEC, LABELS)
    assert judged.scores == {"low": 1.0, "high": 1.0} and judged.cl_dice == 1.0


def test_a_class_that_nobody_has_is_not_scored(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(), [make_case("a")], SPEC, (*LABELS, "third"))
    assert judged.scores["third"] is None


def test_a_constant_answer_is_seen(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Thresholds(bias=9.0), [make_case("a")], SPEC, LABELS)
    assert judged.constant and judged.finite and judged.scores == {"low": 0.0, "high": 0.0} and judged.cl_dice == 0.0


def test_a_mask_without_a_skeleton_is_worth_nothing(make_case: Callable[..., Case], monkeypatch) -> None:
    """Taken for "nothing there", it would count as perfect."""
    monkeypatch.setattr("lib.jobs.judge.cl_dice", lambda *_: float("nan"))
    assert judge(Thresholds(), [make_case("a")], SPEC, LABELS)[0].cl_dice == 0.0


@pytest.mark.parametrize("bias", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_never_run(make_case: Callable[..., Case], bias: float) -> None:
    network = Fails(bias)
    (judged,) = judge(network, [make_case("a")], SPEC, LABELS)
    assert not judged.finite and not judged.fault
    assert broken_weight(network.state_dict()) == "bias" and broken_weight(Thresholds().state_dict()) == ""


def test_an_output_that_is_no_number_is_seen(make_case: Callable[..., Case]) -> None:
    class Overflows(Thresholds):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * torch.inf

    assert not judge(Overflows(), [make_case("a")], SPEC, LABELS)[0].finite


def test_a_version_that_raises_is_at_fault_and_scores_nothing(make_case: Callable[..., Case]) -> None:
    (judged,) = judge(Fails(), [make_case("a")], SPEC, LABELS)
    assert judged.fault == "IndexError: index out of range" and judged.scores == {"low": 0.0, "high": 0.0}


def test_too_little_memory_is_raised(make_case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "error", MemoryError("no room"))
    with pytest.raises(MemoryError):
        judge(Fails(), [make_case("a")], SPEC, LABELS)
