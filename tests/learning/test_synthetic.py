"""Synthetic images: generated from label maps, without copies of training images, and readable as cases."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from lib.data.cases import find_cases
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.label_maps import LabelMaps
from lib.data.pipeline import ImageSpec, read
from lib.learning import synthetic
from lib.models.denoiser import Denoiser

SPEC = ImageSpec(spacing_mm=(3, 3, 4), window=(-1000, 400), roi=(16, 16), slice_offsets=(-2, 0, 1))


class MemorisingDenoiser(Denoiser):
    """Return a memorised image for the first map and random images for the other maps."""

    def __init__(self, memorised: np.ndarray) -> None:
        super().__init__(slices=4, classes=2, channels=(32,))
        self.memorised, self.sampled = torch.from_numpy(memorised), 0

    def sample(self, label: torch.Tensor, *, steps: int = 50, generator: torch.Generator | None = None) -> torch.Tensor:
        made = torch.rand((len(label), 4, 16, 16), generator=generator)
        if not self.sampled:
            made[0, 2] = self.memorised
        self.sampled += len(label)
        return made


@pytest.fixture
def learned() -> LabelMaps:
    rng = np.random.default_rng(0)
    labels = np.zeros((12, 16, 16), np.uint8)
    labels[:, 5:10, 5:10] = 1
    return LabelMaps(labels, rng.random((12, 16, 16)).astype(np.float32), tuple(f"p{n // 3}" for n in range(12)))


def test_copies_are_rejected_and_reported_and_other_images_are_written_as_cases(
    learned: LabelMaps, tmp_path: Path
) -> None:
    spec, progress = synthetic.contiguous_slices(SPEC), []
    assert spec.slice_offsets == (-2, -1, 0, 1)
    pairs = synthetic.generate(MemorisingDenoiser(learned.images[7]), learned.labels[:10], learned, learned,
                          progress=lambda done, total: progress.append((done, total)))  # fmt: skip
    assert (
        pairs.images.shape == (10, 4, 16, 16)
        and pairs.accepted.tolist() == list(range(1, 10))
        and progress[-1] == (10, 10)
    )
    report = synthetic.write_cases(pairs, spec, tmp_path, learned)
    assert report["made"] == 10 and report["kept"] == 9
    assert [(copy["number"], copy["of"]) for copy in report["copies"]] == [(0, "p2")]
    assert json.loads((tmp_path / synthetic.REPORT).read_text()) == report
    assert report["nearest_learned"]["p5"] <= report["nearest_learned"]["median"] and report["nearest_unseen"]
    assert Image.open(tmp_path / synthetic.PICTURE).width > 100
    cases = find_cases(tmp_path / synthetic.CASES)
    assert len(cases) == 9 and cases[0].id == "synthetic_0000"


def test_a_case_has_its_label_on_the_middle_slice_only(learned: LabelMaps, tmp_path: Path) -> None:
    spec = synthetic.contiguous_slices(SPEC)
    pairs = synthetic.generate(MemorisingDenoiser(learned.images[0]), learned.labels[:3], learned)
    synthetic.write_cases(pairs, spec, tmp_path, learned)
    case = find_cases(tmp_path / synthetic.CASES)[0]
    marks = np.asarray(nib.load(case.label).dataobj)
    assert marks.shape == (16, 16, 4) and (marks[..., [0, 1, 3]] == 255).all()
    assert np.array_equal(marks[..., 2], learned.labels[1])
    reading = read(case.image, SPEC, case.label)
    expected = -1000 + 1400 * pairs.images[1].transpose(1, 2, 0)
    np.testing.assert_allclose(reading.intensities[0].numpy(), expected, atol=0.51)
    patch = PatchDataset([reading], SPEC, classes=2, patches_per_epoch=6, augment=None)[5]
    assert (patch["label"] != 255).any(), "patches contain the labelled slice"
