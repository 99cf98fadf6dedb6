"""A tiny restoration app and pairs of coarse procedural scans."""

from pathlib import Path

import pytest

from lib.data.scintigraphy.skeleton import write_pairs
from lib.models.weights import save_weights
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import TaskSpec, load_app

APP = """
[app]
name = "scans"
held_out_patients = 2

[[task]]
name = "bones"
kind = "restoration"
model = "nafnet_tiny"
counts = { fraction = 0.5, crop = 16, sam_size = 32, boxes = 2 }
gate = { metric = "psnr", tolerance = 0.5 }

[task.train]
recipe = "restore"
max_epochs = 2
val_interval = 1
patches_per_epoch = 16
batch_size = 4
warmup_steps = 0
"""


@pytest.fixture
def scans_app(tmp_path: Path) -> Path:
    """An app without weights."""
    folder = tmp_path / "scans app"
    folder.mkdir()
    (folder / "app.toml").write_text(APP)
    return folder


@pytest.fixture
def bones(scans_app: Path) -> TaskSpec:
    return load_app(scans_app).task("bones")


@pytest.fixture
def scans_starter(scans_app: Path, bones: TaskSpec) -> Path:
    weights = scans_app / "starter" / bones.model / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    save_weights(build_network(bones), weights)
    return weights


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with six pairs of scans."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, count=6, seed=1, pixel_mm=12.0)
    return folder
