"""Teacher logits: computed once per case and teacher version, then read from the cache."""

from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec, read
from lib.learning.loop import train
from lib.learning.recipes.distil import Distil
from lib.learning.teacher import Teacher
from lib.models import BUILDERS
from lib.models.inference.predictor import Predictor
from tests.models.sam.toys import toy_network

SPEC = ImageSpec((2.0, 2.0, 2.0), (-1000.0, 400.0), (32, 32), (-1, 0, 1))


def write_tube_case(folder: Path, name: str, seed: int) -> Case:
    """Write a body with a dark tube; the label is the tube."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.arange(n) for n in (36, 30, 12)], indexing="ij")
    label = ((x - 15 - seed) ** 2 + (y - 14) ** 2 < 16).astype(np.uint8)
    hu = np.where(label, -1000, 40) + rng.normal(0, 20, label.shape)
    paths = folder / f"{name}.nii.gz", folder / f"{name}-label.nii.gz"
    for array, path in zip((hu.astype(np.int16), label), paths, strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return Case(name, *paths, name)


def network(model: str = "student_topowmamba") -> torch.nn.Module:
    torch.manual_seed(0)
    return BUILDERS[model](spatial_dims=2, in_channels=3, out_channels=2)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return write_tube_case(tmp_path, "one", 0)


def checksum(net: torch.nn.Module) -> str:
    return sha256(b"".join(value.numpy().tobytes() for value in net.state_dict().values())).hexdigest()


def test_outputs_are_the_logits_of_the_network(case: Case, tmp_path: Path) -> None:
    net = network()
    (logits,) = Teacher(net, SPEC, "v1").outputs([case], tmp_path / "cache")
    volume = read(case.image, SPEC).normalised()
    expected = Predictor(net.eval(), roi=SPEC.roi, slice_offsets=SPEC.slice_offsets).logits(volume)
    assert logits.dtype == np.float16 and logits.shape == (12, 2, 36, 30)
    assert np.abs(logits - expected.permute(3, 0, 1, 2).numpy()).max() < 2e-3 * np.abs(expected.numpy()).max()


def test_logits_are_cached_by_image_content_and_teacher_version(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, runs = tmp_path / "cache", []
    slabs = Predictor.slabs
    monkeypatch.setattr(Predictor, "slabs", lambda self, *a, **k: runs.append(1) or slabs(self, *a, **k))

    def count_runs(version: str, *cases: Case) -> int:
        before = len(runs)
        Teacher(network(), SPEC, version).outputs(cases, cache)
        return len(runs) - before

    copy = Case("copy", case.image, None, "other patient")
    assert [count_runs("v1", case), count_runs("v1", case), count_runs("v1", copy)] == [1, 0, 0]
    assert count_runs("v2", case) == 1, "another teacher version has other logits"
    write_tube_case(tmp_path, "one", 1)
    assert count_runs("v1", case) == 1, "another image with the same name"


@pytest.mark.parametrize("size", [(36, 30), (20, 24), (70, 33)])
def test_a_prompted_network_teaches_without_a_prompt(size: tuple[int, int], tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (*size, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(hu, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "ct.nii.gz")
    spec = ImageSpec((2.0, 2.0, 2.0), (200.0, -1000.0), (32, 32))
    (logits,) = Teacher(toy_network(), spec, "v1").outputs([Case("ct", tmp_path / "ct.nii.gz", None, "p")], tmp_path)
    assert logits.shape == (3, 2, *size) and (logits[:, 0] == 0).all() and logits[:, 1].std() > 0


def test_distillation_changes_the_student_and_not_the_teacher(tmp_path: Path) -> None:
    cases = [write_tube_case(tmp_path, f"case{seed}", seed) for seed in (0, 1)]
    cases[1] = Case("unlabelled", cases[1].image, None, "unlabelled")
    net, student = network(), network("student_conv")
    before, initial = checksum(net), checksum(student)
    teacher = Teacher(net.requires_grad_(False), SPEC, "v1")
    recipe = Distil(max_epochs=8, patches_per_epoch=16, batch_size=8, warmup_steps=0, learning_rate=3e-3, ema_decay=0)
    result = train(
        recipe, student, cases, [], spec=SPEC, labels=["tube"], workdir=tmp_path / "run", teacher=teacher, track=False
    )
    assert checksum(net) == before and all(value.grad is None for value in net.parameters())
    assert checksum(student) != initial and result.skipped == 0
    assert result.history[-1]["distillation"] < 0.8 * result.history[0]["distillation"]


def test_with_an_encoder_loss_the_result_has_the_weights_of_the_student_only(tmp_path: Path) -> None:
    cases = [write_tube_case(tmp_path, f"case{seed}", seed) for seed in (0, 1, 2)]
    net, student = network(), network("student_conv")
    before, names = checksum(net), set(student.state_dict())
    recipe = Distil(max_epochs=2, patches_per_epoch=8, batch_size=4, warmup_steps=0, encoder_weight=1.0, val_interval=1)
    result = train(
        recipe,
        student,
        cases[:2],
        cases[2:],
        spec=SPEC,
        labels=["tube"],
        workdir=tmp_path / "run",
        teacher=Teacher(net.requires_grad_(False), SPEC, "v1"),
        track=False,
    )
    assert set(result.state_dict) == names and checksum(net) == before
    student.load_state_dict(result.state_dict)
    assert result.metrics[0]["case"] == "case2" and "encoder" in result.history[0]
