"""Clicks over HTTP, as OHIF and Slicer send them: on exactly the source grid, nobody in another's way, never a 500."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

from tests.tasks.click.taught import SEGMENTATION, SHAPE, make_click_app, scan, write_scan
from tests.tasks.click.test_request import WRONG

pytestmark = pytest.mark.server
OHIF = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, "restore_label_idx": False}
FLIPPED = np.array([[-2.0, 0, 0, 50], [0, -1.5, 0, 30], [0, 0, 3, -20], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def clicks(launch: Callable, command: Callable, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of a click task and a segmentation task, with two scans, the second stored upside down."""
    where = tmp_path_factory.mktemp("clicks")
    app = make_click_app(where / "app", SEGMENTATION)
    write_scan(0, where / "studies" / "ct_0.nii.gz")
    write_scan(1, where / "studies" / "ct_1.nii.gz", FLIPPED)
    return launch(command, app, where / "studies", where)


def click(seed: int, index: int) -> list[int]:
    return [*scan(seed)[2], index]


def ask(server: Any, task: str, image: str, params: dict[str, Any], output: str = "image") -> requests.Response:
    url = f"{server.url}/infer/{task}?image={image}&output={output}"
    return requests.post(url, data={"params": json.dumps(params)}, timeout=120)


def mask(answer: requests.Response, server: Any, image: str, folder: Path) -> np.ndarray:
    """Return an answer's voxels, once it is known to lie on exactly the grid of its image."""
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"NRRD") and b"encoding: raw" in answer.content[:1000]
    path = folder / "answer.nrrd"
    path.write_bytes(answer.content)
    result, source = sitk.ReadImage(str(path)), sitk.ReadImage(str(server.studies / f"{image}.nii.gz"))
    assert result.GetSize() == source.GetSize() and result.GetPixelID() == sitk.sitkUInt8
    for of in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(result, of)(), getattr(source, of)(), atol=1e-4)
    return sitk.GetArrayFromImage(result).T


def slices(array: np.ndarray) -> list[int]:
    return np.flatnonzero(array.any((0, 1))).tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_ohif_deepgrow(clicks: Any, tmp_path: Path, seed: int) -> None:
    params = {"foreground": [click(seed, 5)], "background": [], **OHIF}
    flat = mask(ask(clicks, "sam_2d", f"ct_{seed}", params), clicks, f"ct_{seed}", tmp_path)
    assert slices(flat) == [5] and set(np.unique(flat)) == {0, 1}
    solid = mask(ask(clicks, "sam_3d", f"ct_{seed}", params), clicks, f"ct_{seed}", tmp_path)
    assert len(slices(solid)) > 1 and 5 in slices(solid) and set(np.unique(solid)) == {0, 1}


def test_ohif_deepedit(clicks: Any, tmp_path: Path) -> None:
    params = {"background": [[1, 1, 3]], "tube": [click(0, 2)], "cavity": [click(0, 9)], **OHIF}
    label = mask(ask(clicks, "sam_labels", "ct_0", params), clicks, "ct_0", tmp_path)
    assert set(np.unique(label)) == {0, 1, 2} and set(np.unique(label[..., 2])) == {0, 1}
    assert set(np.unique(label[..., 9])) == {0, 2}
    told = ask(clicks, "sam_labels", "ct_0", params, "json").json()
    assert told["label_names"] == {"tube": 1, "cavity": 2} and set(told["centroids"]) == {"tube", "cavity"}
    assert told["latencies"]["cached"] is True


def test_slicer_with_roi_and_slice(clicks: Any, tmp_path: Path) -> None:
    row, column = scan(0)[2]
    # What its client class sends: the corners as they come, the whole configuration, and where it is drawn to.
    params = {
        "label": "cavity",
        "foreground": [click(0, 4)],
        "background": [[row + 14, column, 4]],
        "result_extension": [".nrrd", ".nii.gz", ".nii"],
        "result_compress": False,
        "roi": [row + 9, row - 9, column - 9, column + 9, 8, 2],
        "slice": 4,
        "reset_state": True,
    }
    client = MONAILabelClient(clicks.url, tmpdir=str(tmp_path), client_id="user-xyz")
    file, told = client.infer("sam_2d", "ct_0", params)
    assert told["label_names"] == {"airway": 1} and {"encode", "decode", "cached", "total"} <= set(told["latencies"])
    flat = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    assert flat.shape == SHAPE and flat.dtype == np.uint8 and slices(flat) == [4]
    file, _ = client.infer("sam_3d", "ct_0", {key: value for key, value in params.items() if key != "slice"})
    assert set(slices(sitk.GetArrayFromImage(sitk.ReadImage(file)).T)) <= set(range(2, 9))


def test_a_session_and_its_own_mask(clicks: Any, tmp_path: Path) -> None:
    client = MONAILabelClient(clicks.url, tmpdir=str(tmp_path), client_id="user-xyz")
    session = client.create_session(str(write_scan(0, tmp_path / "mine.nii.gz")))["session_id"]
    params = {"foreground": [click(0, 4)], "result_extension": ".nrrd"}
    file, told = client.infer("sam_3d", "", params, session_id=session)
    first = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    assert told["latencies"]["cached"] in (True, False) and len(slices(first)) > 1
    again, _ = client.infer("sam_3d", "", {**params, "background": [[2, 2, 4]]}, label_in=file, session_id=session)
    mended = sitk.GetArrayFromImage(sitk.ReadImage(again)).T
    others = [index for index in range(SHAPE[2]) if index != 4]
    assert np.array_equal(mended[..., others], first[..., others])


def test_a_stored_mask_is_named_by_its_tag(clicks: Any, tmp_path: Path) -> None:
    none = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "mend": "final"})
    assert (none.status_code, none.json()["code"]) == (404, "NO_SUCH_LABEL")
    bad = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "mend": "../x"})
    assert (bad.status_code, bad.json()["code"]) == (400, "BAD_NAME")
    answer = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "stored_mask": "/etc/hostname", **OHIF})
    assert len(slices(mask(answer, clicks, "ct_0", tmp_path))) > 1, "a path from a client is not heeded"


def test_two_users_do_not_meet(clicks: Any) -> None:
    """Each on an image and a label of its own, in turns and at once, as if alone."""
    asked = [
        [(f"ct_{user}", {name: [click(user, index)], **OHIF}) for index in (2, 3, 5)]
        for user, name in enumerate(("tube", "cavity"))
    ]

    def work(user: int) -> list[bytes]:
        return [ask(clicks, "sam_labels", image, params).content for image, params in asked[user]]

    alone = [work(user) for user in range(2)]
    with ThreadPoolExecutor(2) as pool:
        together = [job.result() for job in [pool.submit(work, user) for user in range(2)]]
    assert together == alone and alone[0] != alone[1] and all(each.startswith(b"NRRD") for each in alone[0])


def test_eight_first_clicks_on_a_slice_encode_once(clicks: Any, tmp_path: Path) -> None:
    params = {"foreground": [click(7, 6)], **OHIF}
    upload = {"file": ("ct_7.nii.gz", write_scan(7, tmp_path / "ct_7.nii.gz").read_bytes())}

    def first(_: int) -> dict[str, Any]:
        data = {"params": json.dumps(params)}
        return requests.post(f"{clicks.url}/infer/sam_2d?output=json", data=data, files=upload, timeout=120).json()

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(first, range(8)))
    # Whoever made an embedding says so; a wide and a near look are two at the most.
    assert 1 <= sum(not each["latencies"]["cached"] for each in told) <= 2
    assert all(each["centroids"] == told[0]["centroids"] for each in told)


@pytest.mark.parametrize(("params", "code"), WRONG)
def test_wrong_clicks_are_refused(clicks: Any, params: dict[str, Any], code: str) -> None:
    answer = ask(clicks, "sam_2d", "ct_0", params)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == code and answer.json()["reason"] and answer.json()["remedy"]


def test_an_unknown_label_is_refused(clicks: Any) -> None:
    answer = ask(clicks, "sam_labels", "ct_0", {"tube": [click(0, 2)], "spleen": [[1, 1, 1]]})
    assert (answer.status_code, answer.json()["code"]) == (422, "UNKNOWN_LABEL")


def test_a_click_does_not_wait_for_a_volume(clicks: Any) -> None:
    ask(clicks, "sam_2d", "ct_0", {"foreground": [click(0, 5)]})
    order: list[str] = []

    def timed(name: str, task: str, params: dict[str, Any]) -> None:
        assert ask(clicks, task, "ct_0", params, "json").ok
        order.append(name)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(6):
            pool.submit(timed, "volume", "tubes", {})
        pool.submit(timed, "click", "sam_2d", {"foreground": [click(0, 5)]}).result()
    assert order.index("click") < 5, "six volumes wait for one another, and the click for none of them"


def test_what_is_printed_and_listed(clicks: Any) -> None:
    models = requests.get(f"{clicks.url}/info/", timeout=10).json()["models"]
    assert [models[f"sam_{mode}"]["dimension"] for mode in ("2d", "3d", "labels")] == [2, 3, 3]
    line = next(line for line in clicks.log.read_text().splitlines() if line.strip().startswith("curl"))
    assert "/infer/tubes?" in line, "a task that needs no clicks"
    assert "500" not in {str(ask(clicks, "sam_2d", "ct_1", {"foreground": [[0, 0, 0]]}).status_code)}
