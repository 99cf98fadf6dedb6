"""Validation: Dice per class and case on whole volumes, without ignored voxels."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import Validation, case_dice, class_means, mean_score

ALONE = Ranks(0, 1, torch.device("cpu"))
SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window=(-1000.0, 0.0), roi=(8, 8))


def test_dice_per_class_computed_by_hand() -> None:
    prediction = np.array([1, 1, 0, 2, 1])
    reference = np.array([1, 0, 0, 0, 255])
    assert case_dice(prediction, reference, ("a", "b", "c")) == {"a": pytest.approx(2 / 3), "b": 0.0, "c": None}


def test_means_leave_out_classes_without_a_score() -> None:
    cases = [
        {"case": "x", "scores": {"a": 1.0, "b": 0.5, "c": None}},
        {"case": "y", "scores": {"a": 0.25, "b": None, "c": None}},
        {"case": "z", "scores": {"a": None, "b": None, "c": None}},
    ]
    assert mean_score(cases) == pytest.approx((0.75 + 0.25) / 2)
    assert class_means(cases) == {"a": 0.625, "b": 0.5}
    assert np.isnan(mean_score(cases[2:]))


class AirIsOne(nn.Module):
    """Predict class 1 where the windowed image is below one half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(image, 0.5), 1 - image], dim=1)


def write_case(folder: Path, name: str, *, labelled: int) -> Case:
    """Write a volume with 3 x 4 x 2 voxels of air; the label has the first `labelled` of its 3 rows."""
    hu, label = np.zeros((12, 10, 4), np.int16), np.zeros((12, 10, 4), np.uint8)
    hu[4:7, 3:7, 1:3] = -1000
    label[4 : 4 + labelled, 3:7, 1:3] = 1
    image, mask = folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz"
    nib.save(nib.Nifti1Image(hu, np.eye(4)), image)
    nib.save(nib.Nifti1Image(label, np.eye(4)), mask)
    return Case(id=name, image=image, label=mask, patient=name)


def test_validation_scores_whole_volumes(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, "b", labelled=2), write_case(tmp_path, "a", labelled=3)]
    scores = Validation(cases, SPEC, ("air",))(AirIsOne(), ALONE)
    assert scores == [{"case": "a", "scores": {"air": 1.0}}, {"case": "b", "scores": {"air": pytest.approx(0.8)}}]


def test_a_case_without_a_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="validation cases without a label: x"):
        Validation([Case(id="x", image=tmp_path, label=None, patient="x")], SPEC, ("air",))


def test_classes_that_a_label_does_not_cover_have_no_score(tmp_path: Path) -> None:
    assert case_dice(np.array([1, 2]), np.array([1, 0]), ("a", "b"), ("a",)) == {"a": 1.0, "b": None}
    case = replace(write_case(tmp_path, "a", labelled=3), covered=("bone",))
    (score,) = Validation([case], SPEC, ("air", "bone"))(AirIsOne(), ALONE)
    assert score["scores"] == {"air": None, "bone": None}
