"""Clicks on real images of other kinds than CT over HTTP: an MR, a photograph, an ultrasound and an X-ray."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from tests.cases import real_data
from tests.data.test_real_modalities import find

pytestmark = pytest.mark.server
AIRWAY = Path(__file__).resolve().parents[2] / "apps" / "airway"
TASK = """
[[task]]
name = "{name}"
kind = "click"
model = "sam_tiny"
object = "structure"
labels = ["structure"]
image = {{ modality = "{modality}", intensity = "{intensity}", spacing_mm = [{step}, {step}, 1], roi = [128, 128] }}
rank = 8
"""
TASKS = [("mr", "MR", "zscore", 0.5), ("photo", "RGB", "unit", 3), ("us", "US", "percentile", 2),
         ("xray", "XR", "percentile", 4)]  # fmt: skip


@pytest.fixture(scope="module")
def server(launch: Callable, command: Callable, tmp_path_factory: pytest.TempPathFactory) -> Any:
    where = tmp_path_factory.mktemp("images")
    weights = Path("starter") / "sam_tiny" / "weights.safetensors"
    (where / "app" / weights).parent.mkdir(parents=True)
    shutil.copy(AIRWAY / weights, where / "app" / weights)
    shutil.copy(AIRWAY / "main.py", where / "app")
    tasks = [TASK.format(name=n, modality=m, intensity=i, step=s) for n, m, i, s in TASKS]
    (where / "app" / "app.toml").write_text('[app]\nname = "images"\n' + "".join(tasks))
    (where / "studies").mkdir()
    return launch(command, where / "app", where / "studies", where)


def hippocampus() -> tuple[Path, list[int]]:
    """Return an MR and a click on the brightest region of its middle slice."""
    path = real_data("hippocampus") / "imagesTr" / "hippocampus_001.nii.gz"
    image = sitk.ReadImage(str(path))
    smooth = sitk.GetArrayFromImage(sitk.Mean(sitk.Cast(image, sitk.sitkFloat32), [2, 2, 0])).T
    middle = smooth[3:-3, 3:-3, smooth.shape[2] // 2]
    i, j = np.unravel_index(int(middle.argmax()), middle.shape)
    return path, [int(i) + 3, int(j) + 3, smooth.shape[2] // 2]


IMAGES: dict[str, Callable[[], tuple[Path, list[int]]]] = {
    "mr": hippocampus,
    "photo": lambda: (real_data("chase_db1") / "training" / "images" / "Image_01L.jpg", [521, 455, 0]),
    "us": lambda: (find("US1_UNCR.dcm"), [200, 214, 0]),
    "xray": lambda: (find("RG1_UNCR.dcm"), [1466, 1169, 0]),
}
"""Optic disc, lymph node, and a nodule of the left lung."""


def ask(server: Any, task: str, path: Path, click: list[int], suffix: str = ".nrrd") -> requests.Response:
    params = {"params": json.dumps({"foreground": [click], "result_extension": suffix})}
    files = {"file": (path.name, path.read_bytes())}
    return requests.post(f"{server.url}/infer/{task}?output=image", data=params, files=files, timeout=120)


def voxels(answer: requests.Response, folder: Path, suffix: str = ".nrrd") -> sitk.Image:
    assert answer.status_code == 200, answer.text
    (folder / f"answer{suffix}").write_bytes(answer.content)
    return sitk.ReadImage(str(folder / f"answer{suffix}"))


@pytest.mark.parametrize("name", list(IMAGES))
def test_the_mask_has_the_grid_of_its_image_and_holds_the_click(server: Any, tmp_path: Path, name: str) -> None:
    path, click = IMAGES[name]()
    result = voxels(ask(server, f"{name}_2d", path, click), tmp_path)
    source = sitk.ReadImage(str(path))
    count = result.GetDimension()
    assert result.GetSize() == source.GetSize()[:count]
    if name == "mr":
        assert np.allclose(result.GetSpacing(), source.GetSpacing())
        assert np.allclose(result.GetOrigin(), source.GetOrigin(), atol=1e-4)
        assert np.allclose(result.GetDirection(), source.GetDirection(), atol=1e-4)
    mask = sitk.GetArrayFromImage(result).T
    assert mask[tuple(click[:count])] == 1 and 1 < mask.sum() < mask.size / 2


def test_a_picture_is_answered_as_png_and_in_two_dimensions_by_the_volume_mode(server: Any, tmp_path: Path) -> None:
    path, click = IMAGES["photo"]()
    flat, volume = (voxels(ask(server, f"photo_{m}", path, click, ".png"), tmp_path, ".png") for m in ("2d", "3d"))
    assert flat.GetSize() == (999, 960) == volume.GetSize()
    assert np.array_equal(sitk.GetArrayFromImage(flat), sitk.GetArrayFromImage(volume))


def test_an_image_of_another_modality_is_refused(server: Any) -> None:
    answer = ask(server, "xray_2d", find("US1_UNCR.dcm"), [5, 5, 0])
    assert (answer.status_code, answer.json()["code"]) == (422, "UNKNOWN_MODALITY")
