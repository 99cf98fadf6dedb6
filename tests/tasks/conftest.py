"""A tiny app and tiny CTs: a body with an air tube, whose upper end is labelled as a cavity."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.models.weights import save_weights
from lib.tasks.app import TopoLabelApp
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import TaskSpec, load_app

APP = """
[app]
name = "tiny"
held_out_patients = 2

[[task]]
name = "tubes"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["tube", "cavity"]
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }

[task.train]
recipe = "finetune"
max_epochs = 1
val_interval = 1
patches_per_epoch = 16
batch_size = 4
learning_rate = 3e-3
warmup_steps = 0
"""


def tiny_ct(seed: int, shape: tuple[int, int, int] = (36, 32, 20)) -> tuple[np.ndarray, np.ndarray]:
    """Return intensities (int16, HU) and label (uint8) in RAS order, both ``(X, Y, Z)``."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    hu = np.where((2 * x / (shape[0] - 4)) ** 2 + (2 * y / (shape[1] - 4)) ** 2 < 1, 40.0, -1000.0)
    centre = rng.uniform(-3, 3, 2)
    tube = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 12
    hu[tube] = -1000
    return (hu + rng.normal(0, 20, shape)).astype(np.int16), np.where(tube, np.where(z > 3, 2, 1), 0).astype(np.uint8)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Run torch on one thread: for tiny tensors, several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off MLflow: creating its tables takes longer than training the tiny network."""
    monkeypatch.setattr("lib.learning.loop.training._trackers", lambda *_: [])
    monkeypatch.setattr("lib.tasks.serving.models.mirror", lambda *_: None)


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """An app without weights."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.toml").write_text(APP)
    return folder


@pytest.fixture
def task(app_dir: Path) -> TaskSpec:
    return load_app(app_dir).task("tubes")


@pytest.fixture
def starter(app_dir: Path, task: TaskSpec) -> Path:
    """File of random starter weights in the app's folder."""
    path = app_dir / "starter" / task.model / "weights.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(build_network(task), path)
    return path


@pytest.fixture
def write_ct(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny CT, and its label if a label folder is given."""

    def write(seed: int, *, name: str = "", folder: Path = tmp_path, label_folder: Path | None = None) -> Path:
        hu, label = tiny_ct(seed)
        path = folder / f"{name or f'ct_{seed}'}.nii.gz"
        folder.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(hu, np.diag([2.0, 2.0, 2.0, 1.0])), path)
        if label_folder:
            label_folder.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(label, np.diag([2.0, 2.0, 2.0, 1.0])), label_folder / path.name)
        return path

    return write


@pytest.fixture
def app(app_dir: Path, tmp_path: Path, write_ct: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> TopoLabelApp:
    """The tiny app with one study, without a server: no worker and no threads."""
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD", False)
    monkeypatch.setattr("monailabel.config.settings.MONAI_LABEL_SESSIONS", False)
    write_ct(0, folder=tmp_path / "studies")
    (tmp_path / "studies" / "cohort.png").write_bytes(b"a picture beside the studies")
    return TopoLabelApp(str(app_dir), str(tmp_path / "studies"), {})
