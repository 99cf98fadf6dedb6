"""What the real server accepts and refuses, and that it keeps running."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient

from lib.records.ledger import Ledger

pytestmark = pytest.mark.server


def oblique(degrees: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return an affine rotated about z and then about x."""
    turn = np.deg2rad(degrees)
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing_mm
    affine[:3, 3] = (-30, 12, 7)
    return affine


GRIDS = {
    "straight": (slice(None), np.diag([2.0, 2, 2, 1])),
    "flipped": ((slice(None, None, -1), slice(None, None, -1)), np.diag([-2.0, -2, 2, 1])),
    "oblique": (slice(None), oblique(20, (2, 2, 2))),
    "anisotropic": ((slice(None), slice(None), slice(None, None, 2)), np.diag([2.0, 1.5, 4, 1])),
    "plane": ((slice(None), slice(None), 8), np.diag([2.0, 2, 2, 1])),
}


def infer_file(server: Any, path: Path, suffix: str) -> requests.Response:
    with path.open("rb") as file:
        return requests.post(
            f"{server.url}/infer/tubes?output=image",
            files={"file": (path.name, file)},
            data={"params": json.dumps({"result_extension": suffix})},
            timeout=60,
        )


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("grid", GRIDS)
def test_results_have_the_grid_of_the_image(
    server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable, grid: str, suffix: str
) -> None:
    from lib.data.formats import load

    pick, affine = GRIDS[grid]
    path = write_nifti(make_ct(5)[0][pick], tmp_path / f"{grid}.nii.gz", affine)
    answer = infer_file(server, path, suffix)
    assert answer.ok, answer.text
    (tmp_path / f"result{suffix}").write_bytes(answer.content)
    source, result = load(path), load(tmp_path / f"result{suffix}")
    assert result.voxels.shape == source.voxels.shape
    if source.voxels.ndim == 3 or suffix == ".nii.gz":  # a 2-D image in NRRD has no third axis
        assert np.allclose(result.affine, source.affine, atol=1e-4)


def test_a_flipped_file_gets_the_flipped_answer(
    server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable
) -> None:
    results = {}
    for grid in ("straight", "flipped"):
        pick, affine = GRIDS[grid]
        shift = affine.copy()
        shift[:3, 3] = [70, 62, 0] if grid == "flipped" else 0
        answer = infer_file(server, write_nifti(make_ct(6)[0][pick], tmp_path / f"{grid}.nii.gz", shift), ".nii.gz")
        (tmp_path / f"{grid}-result.nii.gz").write_bytes(answer.content)
        results[grid] = np.asarray(nib.load(tmp_path / f"{grid}-result.nii.gz").dataobj)
    assert results["straight"].any() and np.array_equal(results["flipped"][::-1, ::-1], results["straight"])


def bad_file(kind: str, folder: Path, ct: np.ndarray, write: Callable[..., Path]) -> Path:
    path = folder / f"{kind}.nii.gz"
    if kind == "text":
        path.write_text("this is no image")
    elif kind == "nan":
        voxels = ct.astype(np.float32)
        voxels[3, 3, 3] = np.nan
        write(voxels, path)
    else:
        rng = np.random.default_rng(0)
        write(rng.integers(-1000, 1000, ct.shape).astype(np.int16), path)
        path.write_bytes(path.read_bytes()[:4000])
    return path


@pytest.mark.parametrize(
    ("kind", "codes"), [("truncated", {"TRUNCATED"}), ("text", {"NOT_AN_IMAGE"}), ("nan", {"NON_FINITE"})]
)
def test_a_bad_image_is_refused_and_the_server_keeps_running(
    server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable, kind: str, codes: set[str]
) -> None:
    path = bad_file(kind, tmp_path, make_ct(0)[0], write_nifti)
    with path.open("rb") as file:
        stored = requests.put(
            f"{server.url}/datastore/image?image={kind}", files={"file": (path.name, file)}, timeout=60
        )
    for answer in (infer_file(server, path, ".nrrd"), stored):
        body = answer.json()
        assert answer.status_code == 422 and body["code"] in codes and body["reason"] and body["remedy"], body
        assert {finding["code"] for finding in body["findings"]} >= codes
    assert kind not in requests.get(f"{server.url}/datastore/?output=all", timeout=10).json()["objects"]
    assert not list(server.studies.glob(f"{kind}*"))
    assert requests.post(f"{server.url}/infer/tubes?image=ct_0&output=json", timeout=60).ok


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("POST", "/infer/tubes?image=/etc/hostname", 400, "BAD_NAME"),
        ("POST", "/infer/tubes?image=../ct_0", 400, "BAD_NAME"),
        ("POST", "/infer/tubes?image=unknown", 404, "NO_SUCH_IMAGE"),
        ("POST", "/infer/tubes", 400, "BAD_NAME"),
        ("POST", "/infer/tubes?session_id=none", 404, "NO_SUCH_SESSION"),
        ("POST", "/infer/tubes?image=ct_0&output=dicom_seg", 400, "NO_DICOM_STORE"),
        ("POST", "/infer/other?image=ct_0", 404, "NO_SUCH_MODEL"),
        ("POST", "/activelearning/best", 404, "NO_SUCH_STRATEGY"),
        ("GET", "/datastore/label?label=ct_0&tag=../../x", 400, "BAD_NAME"),
        ("GET", "/datastore/image/info?image=..%2fx", 400, "BAD_NAME"),
        ("PUT", "/model/tubes", 405, "MODEL_READ_ONLY"),
        ("DELETE", "/model/tubes", 405, "MODEL_READ_ONLY"),
        ("PUT", "/session/?uncompress=true", 400, "NO_ARCHIVES"),
        ("POST", "/infer/wsi/tubes", 404, "NOT_OFFERED"),
        ("POST", "/reload", 404, "NOT_OFFERED"),
        ("GET", "/proxy/dicom/%252e%252e/system", 400, "BAD_PATH"),
    ],
)
def test_refusals(server: Any, method: str, address: str, status: int, code: str) -> None:
    answer = requests.request(method, server.url + address, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["reason"] and answer.json()["remedy"]


@pytest.mark.parametrize("params", ["{", "[]", "7"])
def test_params_must_be_an_object(server: Any, params: str) -> None:
    answer = requests.post(f"{server.url}/infer/tubes?image=ct_0", data={"params": params}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_PARAMS")


def test_params_do_not_replace_the_image(server: Any) -> None:
    params = json.dumps({"image": "/etc/hostname", "model": "other", "result_extension": ".exe"})
    answer = requests.post(f"{server.url}/infer/tubes?image=ct_0", data={"params": params}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), "only the suffix is refused"


def put_label(server: Any, image: str, path: Path, tag: str = "final") -> requests.Response:
    with path.open("rb") as file:
        url = f"{server.url}/datastore/label?image={image}&tag={tag}"
        return requests.put(url, files={"label": (path.name, file)}, timeout=60)


def test_labels_are_checked_before_they_are_stored(
    server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable
) -> None:
    label = make_ct(1)[1]
    garbage = tmp_path / "garbage.nii.gz"
    garbage.write_bytes(b"garbage")
    cases = [
        (write_nifti(label[1:], tmp_path / "grid.nii.gz"), "LABEL_GRID"),
        (write_nifti(label * 9, tmp_path / "values.nii.gz"), "LABEL_VALUES"),
        (garbage, "NOT_AN_IMAGE"),
    ]
    for path, code in cases:
        answer = put_label(server, "ct_1", path, "refused")
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
        assert (server.app / answer.json()["kept"]).read_bytes() == path.read_bytes()
    assert put_label(server, "unknown", cases[0][0]).json()["code"] == "NO_SUCH_IMAGE"
    assert put_label(server, "ct_1", cases[0][0], "../../out").json()["code"] == "BAD_NAME"
    assert not (server.studies / "labels" / "refused").exists()


def test_findings_of_a_label_are_returned_recorded_and_drawn(
    client: MONAILabelClient, server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable
) -> None:
    label = make_ct(2)[1]
    whole, broken = label.copy(), label
    broken[:, :, 8:10] = 0
    for voxels, codes in ((whole, []), (broken, ["BREAK"]), (np.zeros_like(label), ["EMPTY"])):
        path = write_nifti(voxels, tmp_path / "label.nii.gz")
        findings = client.save_label("ct_2", str(path), "checked", {"user": "Anna"})["findings"]
        assert [finding["code"] for finding in findings] == codes
        row = Ledger.of(server.app).rows("label", "ct_2")[-1]
        assert row.body["findings"] == findings
        if codes == ["BREAK"]:
            assert findings[0]["voxel"][2] in (8, 9) and findings[0]["severity"] == "warning"
            address = f"{server.url}/admin/overlay.png?image=ct_2&label={row.body['label']}"
            assert requests.get(address, timeout=60).headers["content-type"] == "image/png"
    assert (server.studies / "labels" / "checked" / "ct_2.nii.gz").is_file(), "a finding does not refuse the label"


def test_an_existing_name_keeps_its_image(
    client: MONAILabelClient, server: Any, tmp_path: Path, make_ct: Callable, write_nifti: Callable
) -> None:
    first, other = (write_nifti(make_ct(seed)[0], tmp_path / f"{seed}" / "new.nii.gz") for seed in (7, 8))
    assert client.upload_image(str(first), "new study") == {"image": "new study"}
    assert client.upload_image(str(first), "new study") == {"image": "new study"}, (
        "sending the same image again is accepted"
    )
    with other.open("rb") as file:
        answer = requests.put(
            f"{server.url}/datastore/image?image=new study", files={"file": ("x.nii.gz", file)}, timeout=30
        )
    assert (answer.status_code, answer.json()["code"]) == (409, "NAME_TAKEN")
    assert (server.studies / "new study.nii.gz").read_bytes() == first.read_bytes()
    assert client.infer("tubes", "new study", {})[1]["version"]
    requests.delete(f"{server.url}/datastore/image?id=new study", timeout=10).raise_for_status()


def test_other_origins_cannot_read(server: Any) -> None:
    answer = requests.get(f"{server.url}/info/", headers={"Origin": "http://evil.example"}, timeout=10)
    assert "access-control-allow-origin" not in answer.headers
