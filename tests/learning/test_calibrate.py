"""Calibration chooses the best shift on the validation cases and reports the scores that validation gives."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec
from lib.learning.calibrate import SHIFTS, calibrate
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import Validation, mean_score
from lib.models import BUILDERS

SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window=(-1000.0, 0.0), roi=(16, 16))
ALONE = Ranks(0, 1, torch.device("cpu"))


class Threshold(nn.Module):
    """Predict air where ``gain * (1 - image) > level``; on an image with a wide edge the level changes the result."""

    def __init__(self, gain: float, level: float) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(1, 2, 1)
        weights = {"weight": torch.tensor([0.0, -gain]).view(2, 1, 1, 1), "bias": torch.tensor([level, gain])}
        self.classifier.load_state_dict(weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(image)


def background_bias(network: nn.Module) -> float:
    """Return the bias of the background logit."""
    return float(network.state_dict()["classifier.bias"][0])


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Write two ramps from air to tissue, labelled below -400 HU; one column is ignored."""
    written = []
    for index in range(2):
        hu = np.broadcast_to(np.linspace(-1000, 0, 21 + index)[:, None, None], (21 + index, 9, 5)).astype(np.int16)
        label = (hu < -400).astype(np.uint8)
        label[:, 0] = 255
        paths = tmp_path / f"case{index}.nii.gz", tmp_path / f"label{index}.nii.gz"
        for path, array in zip(paths, (hu, label), strict=True):
            nib.save(nib.Nifti1Image(np.ascontiguousarray(array), np.eye(4)), path)
        written.append(Case(id=f"case{index}", image=paths[0], label=paths[1], patient=f"p{index}"))
    return written


@pytest.mark.parametrize("level", [1.0, 4.6])
def test_the_chosen_shift_improves_dice_and_its_scores_equal_those_of_validation(
    cases: list[Case], level: float
) -> None:
    network = Threshold(gain=10.0, level=level)
    before = mean_score(Validation(cases, SPEC, ("air",))(network, ALONE))
    chosen = calibrate(network, cases, SPEC, ("air",))
    assert chosen is not None and chosen.score > before
    # -400 HU is 0.6 of the window, so the correct level is 4; the largest shift does not reach it from level 1.
    assert chosen.shift == SHIFTS.max() if level == 1.0 else level + chosen.shift == pytest.approx(4.0, abs=0.35)
    after = Validation(cases, SPEC, ("air",))(network, ALONE)
    assert after == [
        {"case": row["case"], "scores": {"air": pytest.approx(row["scores"]["air"])}} for row in chosen.metrics
    ]
    assert chosen.score == pytest.approx(mean_score(after))


def test_a_correct_bias_is_not_changed(cases: list[Case]) -> None:
    network = Threshold(gain=10.0, level=4.0)
    chosen = calibrate(network, cases, SPEC, ("air",))
    assert chosen is not None and chosen.shift == 0.0
    assert background_bias(network) == 4.0


def test_metrics_have_the_given_classes_only(cases: list[Case]) -> None:
    network = Threshold(gain=10.0, level=4.6)
    chosen = calibrate(network, cases, SPEC, ("air", "water")[:1])
    assert chosen is not None and all(row["scores"].keys() == {"air"} for row in chosen.metrics)


def test_without_a_classifier_or_without_cases_nothing_changes(cases: list[Case]) -> None:
    assert calibrate(nn.Conv2d(1, 2, 1), cases, SPEC, ("air",)) is None
    network = Threshold(gain=10.0, level=1.0)
    assert calibrate(network, [], SPEC, ("air",)) is None
    assert background_bias(network) == 1.0


@pytest.mark.parametrize("name", ["topowmamba_tiny", "vmunet_small"])
def test_a_shift_of_the_classifier_bias_shifts_the_background_logit(name: str) -> None:
    network = BUILDERS[name](spatial_dims=2, in_channels=1, out_channels=3).eval()
    assert isinstance(network.classifier, nn.Module)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        before = network(image)
        dict(network.classifier.named_parameters())["bias"][0] += 1.5
        difference = network(image) - before
    torch.testing.assert_close(
        difference, torch.tensor([1.5, 0, 0]).view(1, 3, 1, 1).expand_as(difference), atol=1e-4, rtol=0
    )


def test_cases_choose_the_shift_by_the_classes_that_they_cover(cases: list[Case]) -> None:
    network = Threshold(gain=10.0, level=4.6)
    alone = calibrate(Threshold(gain=10.0, level=4.6), cases[:1], SPEC, ("air",))
    chosen = calibrate(network, [cases[0], replace(cases[1], covered=("bone",))], SPEC, ("air",))
    assert alone is not None and chosen is not None and chosen.shift == alone.shift
    assert [row["scores"]["air"] is None for row in chosen.metrics] == [False, True]
