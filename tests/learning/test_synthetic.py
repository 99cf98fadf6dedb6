"""Made images: of the maps they were given, copies left out, readable as cases."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from lib.data.cases import find_cases
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.label_maps import Maps
from lib.data.pipeline import ImageSpec, read
from lib.learning import synthetic
from lib.models.denoiser import Denoiser

SPEC = ImageSpec(spacing_mm=(3, 3, 4), window_hu=(-1000, 400), roi=(16, 16), slice_offsets=(-2, 0, 1))


class Parrot(Denoiser):
    """Gives back the one image it remembers for the first map, and something of its own for the others."""

    def __init__(self, remembered: np.ndarray) -> None:
        super().__init__(slices=4, classes=2, channels=(32,))
        self.remembered, self.asked = torch.from_numpy(remembered), 0

    def sample(self, label: torch.Tensor, *, steps: int = 50, generator: torch.Generator | None = None) -> torch.Tensor:
        made = torch.rand((len(label), 4, 16, 16), generator=generator)
        if not self.asked:
            made[0, 2] = self.remembered
        self.asked += len(label)
        return made


@pytest.fixture
def learned() -> Maps:
    rng = np.random.default_rng(0)
    labels = np.zeros((12, 16, 16), np.uint8)
    labels[:, 5:10, 5:10] = 1
    return Maps(labels, rng.random((12, 16, 16)).astype(np.float32), tuple(f"p{n // 3}" for n in range(12)))


def test_copies_are_refused_and_named_and_the_others_are_cases(learned: Maps, tmp_path: Path) -> None:
    spec, told = synthetic.neighbours(SPEC), []
    assert spec.slice_offsets == (-2, -1, 0, 1)
    made = synthetic.make(Parrot(learned.images[7]), learned.labels[:10], learned, learned,
                          progress=lambda done, of: told.append((done, of)))  # fmt: skip
    assert made.images.shape == (10, 4, 16, 16) and made.kept.tolist() == list(range(1, 10)) and told[-1] == (10, 10)
    answer = synthetic.write(made, spec, tmp_path, learned)
    assert answer["made"] == 10 and answer["kept"] == 9
    assert [(each["number"], each["of"]) for each in answer["copies"]] == [(0, "p2")]
    assert json.loads((tmp_path / synthetic.REPORT).read_text()) == answer
    assert answer["nearest_learned"]["p5"] <= answer["nearest_learned"]["median"] and answer["nearest_unseen"]
    assert Image.open(tmp_path / synthetic.PICTURE).width > 100
    cases = find_cases(tmp_path / synthetic.CASES)
    assert len(cases) == 9 and cases[0].id == "synthetic_0000"


def test_a_case_is_the_image_and_its_label_on_the_middle_slice_alone(learned: Maps, tmp_path: Path) -> None:
    spec = synthetic.neighbours(SPEC)
    made = synthetic.make(Parrot(learned.images[0]), learned.labels[:3], learned)
    synthetic.write(made, spec, tmp_path, learned)
    case = find_cases(tmp_path / synthetic.CASES)[0]
    marks = np.asarray(nib.load(case.label).dataobj)
    assert marks.shape == (16, 16, 4) and (marks[..., [0, 1, 3]] == 255).all()
    assert np.array_equal(marks[..., 2], learned.labels[1])
    reading = read(case.image, SPEC, case.label)
    expected = -1000 + 1400 * made.images[1].transpose(1, 2, 0)
    np.testing.assert_allclose(reading.hu[0].numpy(), expected, atol=0.51)
    patch = PatchDataset([reading], SPEC, classes=2, patches_per_epoch=6, augment=None)[5]
    assert (patch["label"] != 255).any(), "a patch is drawn where there is a label"
