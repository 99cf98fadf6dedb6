"""The three infer tasks of a click task: info, results, refusals and corrections."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.tasks.click.infer import STORED, UPLOADED, ClickInfer
from lib.tasks.kinds import kind_of
from lib.tasks.serving.result import RequestError
from lib.tasks.spec import load_app
from tests.tasks.click.taught import scan


@pytest.fixture(scope="module")
def infers(click_app: Path) -> dict[str, ClickInfer]:
    task = load_app(click_app).task("sam")
    return kind_of(task).infer_tasks(click_app, task)  # type: ignore[return-value]


def middle(seed: int, index: int) -> list[int]:
    return [*scan(seed)[2], index]


def read(file: str | None) -> np.ndarray:
    assert file is not None
    array = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    Path(file).unlink()
    return array


def test_info_of_the_three_tasks(infers: dict[str, ClickInfer]) -> None:
    infos = {name: infer.info() for name, infer in infers.items()}
    assert {name: (info["type"], info["dimension"], info["labels"]) for name, info in infos.items()} == {
        "sam_2d": ("deepgrow", 2, {"airway": 1}),
        "sam_3d": ("deepgrow", 3, {"airway": 1}),
        "sam_labels": ("deepedit", 3, {"tube": 1, "cavity": 2}),
    }
    assert len({id(infer.clicker) for infer in infers.values()}) == 1, "one network and one cache for the three"
    assert all(infer.is_valid() and infer.get_path() and infer.needs_clicks for infer in infers.values())


def test_a_click_returns_a_label_file_and_facts(infers: dict[str, ClickInfer], scans: list[Path]) -> None:
    request = {"image": str(scans[0]), "foreground": [middle(0, 3)]}
    for cached in (False, True):
        file, params = infers["sam_2d"](dict(request))
        assert Path(str(file)).suffix == ".nrrd" and set(np.unique(read(file))) == {0, 1}
        assert params["label_names"] == {"airway": 1} and params["version"] == "starter"
        assert cached <= params["latencies"]["cached"] and {"encode", "decode", "total"} < set(params["latencies"])
        assert params["centroids"]["airway"][2] == "3"
    assert infers["sam_2d"](request | {"result_write_to_file": False})[0] is None


def test_invalid_requests_are_refused(infers: dict[str, ClickInfer], scans: list[Path]) -> None:
    with pytest.raises(RequestError):
        infers["sam_2d"]({"image": str(scans[0]), "foreground": [middle(0, 3)], "result_extension": ".exe"})
    with pytest.raises(InputRejected, match="NO_CLICKS"):
        infers["sam_3d"]({"image": str(scans[0])})
    with pytest.raises(InputRejected, match="UNKNOWN_LABEL"):
        infers["sam_labels"]({"image": str(scans[0]), "airway": [middle(0, 3)]})


def test_a_mask_is_corrected(infers: dict[str, ClickInfer], scans: list[Path], tmp_path: Path) -> None:
    label = np.zeros((64, 64, 12), np.uint8)
    label[5:9, 5:9, 1], label[20:24, 20:24, 1], label[1, 1, 1] = 1, 2, 255
    path = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(label, np.diag([2.0, 2, 2, 1])), path)
    request = {"image": str(scans[0]), "foreground": [middle(0, 4)], "label": "cavity"}
    drawn = read(infers["sam_3d"](request | {UPLOADED: str(path)})[0])
    assert np.array_equal(drawn[..., 1], (label[..., 1] > 0) & (label[..., 1] < 255)) and drawn[..., 4].any()
    drawn = read(infers["sam_3d"](request | {STORED: str(path)})[0])
    assert np.array_equal(drawn[..., 1], label[..., 1] == 2), "only the named label of a stored mask is corrected"
    drawn = read(infers["sam_labels"](request | {STORED: str(path)})[0])
    assert np.array_equal(drawn[..., 1], label[..., 1] * (label[..., 1] < 255)) and (drawn[..., 4] == 2).any()
    nib.save(nib.Nifti1Image(label[1:], np.diag([2.0, 2, 2, 1])), path)
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        infers["sam_3d"](request | {UPLOADED: str(path)})
