"""Studies that are pictures: from files in a folder to checked labels, a training, and results of the same size."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

from lib.data.cases import find_cases
from lib.data.labels.label_file import read_label
from lib.data.pipeline import load_label, read
from lib.models.inference.predictor import Predictor
from lib.models.weights import save_weights
from lib.records.ledger import Ledger
from lib.tasks.app import TopoLabelApp
from lib.tasks.kinds import kind_of
from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import TaskSpec, load_app
from lib.tasks.store.folder import FolderStore
from lib.tasks.training.evaluate import evaluate_cases
from lib.tasks.training.retrain import retrain
from lib.tasks.training.train import labelled_cases
from tests.cases import real_data

APP = """
[app]
name = "photographs"
held_out_patients = 2

[[task]]
name = "vessels"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["vessel"]
image = { modality = "RGB", intensity = "unit", spacing_mm = [1, 1, 1], roi = [32, 32] }

[task.train]
recipe = "finetune"
max_epochs = 1
val_interval = 1
patches_per_epoch = 8
batch_size = 4
warmup_steps = 0
"""
SIZE = (40, 36)
"""Columns and rows."""


def photograph(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return colours ``(Y, X, 3)`` and a label ``(Y, X)`` with a vessel that is symmetric to no axis."""
    rng = np.random.default_rng(seed)
    columns, rows = np.meshgrid(*map(np.arange, SIZE))
    vessel = np.abs(rows - 6 - seed - columns // 3) < 2
    colours = np.where(vessel[..., None], (120, 40, 30), (200, 140, 90)) + rng.integers(-9, 10, (*vessel.shape, 3))
    return colours.astype(np.uint8), vessel.astype(np.uint8)


def as_palette(label: np.ndarray) -> Image.Image:
    picture = Image.fromarray(label).convert("P")
    picture.putdata(label.ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    return picture


def write_label(path: Path, label: np.ndarray) -> None:
    """Write a label as NRRD or NIfTI with the spacing that ITK reads from a resolution of 72 dpi."""
    image = sitk.GetImageFromArray(label)
    image.SetSpacing((25.4 / 72, 25.4 / 72))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.toml").write_text(APP)
    return tmp_path / "app"


@pytest.fixture
def task(app_dir: Path) -> TaskSpec:
    return load_app(app_dir).task("vessels")


@pytest.fixture
def starter(app_dir: Path, task: TaskSpec) -> Path:
    path = app_dir / "starter" / task.model / "weights.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(build_network(task), path)
    return path


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Photographs with labels of every accepted kind, one without a label, and three with labels that are refused."""
    folder = tmp_path / "studies"
    final = folder / "labels" / "final"
    final.mkdir(parents=True)
    names = ["a.png", "b.jpg", "c.tif", "d.PNG", "e.jpeg", "f.png", "rgb.png", "size.png", "lossy.png"]
    for seed, name in enumerate(names):
        Image.fromarray(photograph(seed)[0]).save(folder / name, dpi=(72, 72), **{"quality": 95})
    truth = [photograph(seed)[1] for seed in range(len(names))]
    Image.fromarray(truth[0]).save(final / "a.png")
    as_palette(truth[1]).save(final / "b.png", bits=1)
    write_label(final / "c.nrrd", truth[2])
    write_label(final / "d.nii.gz", truth[3])
    Image.fromarray(truth[4] > 0).save(final / "e.png")  # 1 bit
    Image.fromarray(np.dstack([truth[6]] * 3)).save(final / "rgb.png")
    Image.fromarray(truth[7].T.copy()).save(final / "size.png")
    Image.fromarray(truth[8]).save(final / "lossy.jpg")
    return folder


@pytest.fixture
def served(app_dir: Path, studies: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], TopoLabelApp]:
    """Start the app without a server: no worker and no threads."""
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD", False)
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_SESSIONS", False)
    return lambda: TopoLabelApp(str(app_dir), str(studies), {})


def test_pictures_are_studies_and_their_labels_are_checked(served: Callable[[], TopoLabelApp], studies: Path) -> None:
    store = served().datastore()
    assert isinstance(store, FolderStore) and store.final and not store.left_out
    assert sorted(store.list_images()) == ["a", "b", "c", "d", "e", "f", "lossy", "rgb", "size"]
    assert {label.study: label.finding.code for label in store.final.refused} == {
        "rgb": "WRONG_DIMENSION", "size": "LABEL_GRID", "lossy": "LABEL_VALUES",
    }  # fmt: skip
    cases = labelled_cases(store)
    assert [case.id for case in cases] == ["a", "b", "c", "d", "e"]
    for seed, case in enumerate(cases):
        assert case.label
        for label in (load_label(case.label, SIZE, np.eye(4), in_pixels=True), stored_values(case.label)):
            assert np.array_equal(label, photograph(seed)[1].T), case.id


def stored_values(path: Path) -> np.ndarray:
    """Return a label as other programs read it."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


def test_the_other_apps_list_no_pictures(app_dir: Path, served: Callable[[], TopoLabelApp]) -> None:
    text = APP.replace('modality = "RGB", intensity = "unit"', "window = [-1000, 400]")
    (app_dir / "app.toml").write_text(text)
    store = served().datastore()
    assert isinstance(store, FolderStore) and not store.list_images()
    assert {entry.reason for entry in store.left_out} == {"no image in a format that is read here"}


def test_a_submitted_label_is_kept_with_the_values_of_the_app(
    served: Callable[[], TopoLabelApp], studies: Path, tmp_path: Path
) -> None:
    app, truth = served(), photograph(5)[1]
    as_palette(truth * 3).save(tmp_path / "label.png")
    image = app.datastore().get_image_uri("f")
    voxels = app.kind.check_submitted_label(tmp_path / "label.png", image, app.spec.tasks[0], {"vessel": 3})
    app.datastore().save_label("f", str(tmp_path / "label.png"), "final", {})
    assert np.array_equal(voxels, truth.T)
    assert np.array_equal(stored_values(studies / "labels" / "final" / "f.png"), truth.T)
    assert not app.kind.inspect_label(voxels, image, app.spec.tasks[0])


def test_a_training_and_an_evaluation_on_pictures(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, tmp_path: Path
) -> None:
    outcome = retrain(app_dir, "vessels", studies, {"learning_rate": "1e-3"}, device="cpu")
    assert (outcome.train_cases + outcome.val_cases + outcome.held_out_cases) == 5
    assert len(Ledger.of(app_dir).rows("label")) == 5
    segmenter = Segmenter.from_task(app_dir, "vessels", device="cpu")
    cases = [case for case in find_cases(studies) if case.id in "abcde"]
    found = evaluate_cases(
        lambda image: segmenter.segment(image).label,
        cases,
        task.label_values,
        modality="RGB",
        out=tmp_path / "report",
        progress=lambda _: None,
    )
    assert set(found["cases"]) == set("abcde")


def split_by_green(self: Predictor, volume: torch.Tensor, *_: object) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the logits of a network that knows the vessels of `photograph`."""
    green = volume[1] - 90 / 255
    yield 0, torch.stack([green, -green])


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.tif"])
@pytest.mark.parametrize("extension", [None, ".png", ".nrrd", ".nii.gz"])
def test_a_result_has_size_and_place_of_its_picture(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, name: str, extension: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Predictor, "slabs", split_by_green)
    file, _ = SegmentationInfer(app_dir, task)({"image": str(studies / name), "result_extension": extension})
    assert file is not None and file.endswith(extension or ".png")
    result, truth = sitk.ReadImage(file), photograph("abc".index(name[0]))[1]
    assert result.GetSize() == SIZE and result.GetSpacing() == (1, 1) and result.GetOrigin() == (0, 0)
    assert result.GetDirection() == (1, 0, 0, 1) and result.GetPixelID() == sitk.sitkUInt8
    wrong = float((sitk.GetArrayFromImage(result) != truth).mean())
    assert wrong < 0.02 if name == "b.jpg" else wrong == 0, "JPEG changes colours a little"
    assert np.array_equal(read_label(file, SIZE, np.eye(4), in_pixels=True).voxels, stored_values(Path(file)))
    Path(file).unlink()


@pytest.mark.parametrize("eye", ["01L", "02R"])
def test_a_real_fundus_photograph_and_its_label(app_dir: Path, tmp_path: Path, eye: str) -> None:
    folder = real_data("chase_db1") / "training"
    image, label = folder / "images" / f"Image_{eye}.jpg", folder / "mask" / f"Image_{eye}_1stHO.png"
    task = load_app(app_dir).task("vessels")
    kind_of(task).check_image(image, task)
    reading = read(image, task.image, label)
    stored = np.asarray(Image.open(label)).T
    assert reading.label is not None and reading.intensities.shape == (3, 999, 960, 1)
    assert np.array_equal(reading.to_source(reading.label), stored)
    vessel, green = reading.label[..., 0].numpy() > 0, reading.intensities[1, ..., 0].numpy()
    beside = binary_dilation(vessel, iterations=6) & ~binary_dilation(vessel, iterations=2)
    assert green[vessel].mean() < 0.95 * green[beside].mean(), "vessels are darker than the tissue beside them"
    copy = Path(shutil.copy(label, tmp_path / "label.png"))
    assert np.array_equal(kind_of(task).check_submitted_label(copy, image, task), stored)
    assert np.array_equal(stored_values(copy), stored), "one bit is written again as 0 and 1"
