"""Calibration: the shift that the held-out cases like best, folded in, with the scores that validation would find."""

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

SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window_hu=(-1000.0, 0.0), roi=(16, 16))
ALONE = Ranks(0, 1, torch.device("cpu"))


class Threshold(nn.Module):
    """Air where ``gain * (1 - image) > level``; a wide edge of the image makes the level matter."""

    def __init__(self, gain: float, level: float) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(1, 2, 1)
        weights = {"weight": torch.tensor([0.0, -gain]).view(2, 1, 1, 1), "bias": torch.tensor([level, gain])}
        self.classifier.load_state_dict(weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(image)


def level_of(network: nn.Module) -> float:
    """Return the bias of the background."""
    return float(network.state_dict()["classifier.bias"][0])


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Write two ramps from air to tissue, labelled where they are below -400 HU; a column is ignored."""
    found = []
    for index in range(2):
        hu = np.broadcast_to(np.linspace(-1000, 0, 21 + index)[:, None, None], (21 + index, 9, 5)).astype(np.int16)
        label = (hu < -400).astype(np.uint8)
        label[:, 0] = 255
        paths = tmp_path / f"case{index}.nii.gz", tmp_path / f"label{index}.nii.gz"
        for path, array in zip(paths, (hu, label), strict=True):
            nib.save(nib.Nifti1Image(np.ascontiguousarray(array), np.eye(4)), path)
        found.append(Case(id=f"case{index}", image=paths[0], label=paths[1], patient=f"p{index}"))
    return found


@pytest.mark.parametrize("level", [1.0, 4.6])
def test_finds_the_level_and_says_what_validation_says(cases: list[Case], level: float) -> None:
    network = Threshold(gain=10.0, level=level)
    before = mean_score(Validation(cases, SPEC, ("air",))(network, ALONE))
    chosen = calibrate(network, cases, SPEC, ("air",))
    assert chosen is not None and chosen.score > before
    # -400 HU is 0.6 of the window: the right level is 4, out of reach for a level of 1.
    assert chosen.shift == SHIFTS.max() if level == 1.0 else level + chosen.shift == pytest.approx(4.0, abs=0.35)
    after = Validation(cases, SPEC, ("air",))(network, ALONE)
    assert after == [
        {"case": row["case"], "scores": {"air": pytest.approx(row["scores"]["air"])}} for row in chosen.metrics
    ]
    assert chosen.score == pytest.approx(mean_score(after))


def test_what_is_right_stays(cases: list[Case]) -> None:
    network = Threshold(gain=10.0, level=4.0)
    chosen = calibrate(network, cases, SPEC, ("air",))
    assert chosen is not None and chosen.shift == 0.0
    assert level_of(network) == 4.0


def test_a_class_that_nobody_has_does_not_count(cases: list[Case]) -> None:
    network = Threshold(gain=10.0, level=4.6)
    chosen = calibrate(network, cases, SPEC, ("air", "water")[:1])
    assert chosen is not None and all(row["scores"].keys() == {"air"} for row in chosen.metrics)


def test_nothing_to_fold_into_or_to_judge_by(cases: list[Case]) -> None:
    assert calibrate(nn.Conv2d(1, 2, 1), cases, SPEC, ("air",)) is None
    network = Threshold(gain=10.0, level=1.0)
    assert calibrate(network, [], SPEC, ("air",)) is None
    assert level_of(network) == 1.0


@pytest.mark.parametrize("name", ["topowmamba_tiny", "vmunet_small"])
def test_our_networks_have_a_classifier(name: str) -> None:
    network = BUILDERS[name](spatial_dims=2, in_channels=1, out_channels=3).eval()
    assert isinstance(network.classifier, nn.Module)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        before = network(image)
        dict(network.classifier.named_parameters())["bias"][0] += 1.5
        moved = network(image) - before
    torch.testing.assert_close(moved, torch.tensor([1.5, 0, 0]).view(1, 3, 1, 1).expand_as(moved), atol=1e-4, rtol=0)
