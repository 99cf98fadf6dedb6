"""Clicks over HTTP, as OHIF and Slicer send them: masks on the source grid, users independent, never a 500."""

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
    """Return an answer's voxels after checking that its grid equals the image's."""
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
    answer = ask(clicks, "sam_labels", "ct_0", params, "json").json()
    assert answer["label_names"] == {"tube": 1, "cavity": 2} and set(answer["centroids"]) == {"tube", "cavity"}
    assert answer["latencies"]["cached"] is True


def test_slicer_with_roi_and_slice(clicks: Any, tmp_path: Path) -> None:
    row, column = scan(0)[2]
    # As its client class sends it: unordered corners, the whole configuration, and the target of the drawing.
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
    file, answer = client.infer("sam_2d", "ct_0", params)
    assert answer["label_names"] == {"airway": 1} and {"encode", "decode", "cached", "total"} <= set(
        answer["latencies"]
    )
    flat = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    assert flat.shape == SHAPE and flat.dtype == np.uint8 and slices(flat) == [4]
    file, _ = client.infer("sam_3d", "ct_0", {key: value for key, value in params.items() if key != "slice"})
    assert set(slices(sitk.GetArrayFromImage(sitk.ReadImage(file)).T)) <= set(range(2, 9))


def test_a_session_and_its_own_mask(clicks: Any, tmp_path: Path) -> None:
    client = MONAILabelClient(clicks.url, tmpdir=str(tmp_path), client_id="user-xyz")
    session = client.create_session(str(write_scan(0, tmp_path / "mine.nii.gz")))["session_id"]
    params = {"foreground": [click(0, 4)], "result_extension": ".nrrd"}
    file, answer = client.infer("sam_3d", "", params, session_id=session)
    first = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    assert answer["latencies"]["cached"] in (True, False) and len(slices(first)) > 1
    again, _ = client.infer("sam_3d", "", {**params, "background": [[2, 2, 4]]}, label_in=file, session_id=session)
    mended = sitk.GetArrayFromImage(sitk.ReadImage(again)).T
    others = [index for index in range(SHAPE[2]) if index != 4]
    assert np.array_equal(mended[..., others], first[..., others])


def test_a_stored_mask_is_selected_by_its_tag(clicks: Any, tmp_path: Path) -> None:
    none = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "mend": "final"})
    assert (none.status_code, none.json()["code"]) == (404, "NO_SUCH_LABEL")
    bad = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "mend": "../x"})
    assert (bad.status_code, bad.json()["code"]) == (400, "BAD_NAME")
    answer = ask(clicks, "sam_3d", "ct_0", {"foreground": [click(0, 4)], "stored_mask": "/etc/hostname", **OHIF})
    assert len(slices(mask(answer, clicks, "ct_0", tmp_path))) > 1, "a path from a client is ignored"


def test_two_users_do_not_affect_each_other(clicks: Any) -> None:
    """Two users on different images and labels get the same masks one after the other and in parallel."""
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
        answer = list(pool.map(first, range(8)))
    # An answer names a computed embedding; a wide and a near view are two at most.
    assert 1 <= sum(not each["latencies"]["cached"] for each in answer) <= 2
    assert all(each["centroids"] == answer[0]["centroids"] for each in answer)


@pytest.mark.parametrize(("params", "code"), WRONG)
def test_invalid_clicks_are_refused(clicks: Any, params: dict[str, Any], code: str) -> None:
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
    assert order.index("click") < 5, "six volumes are queued, and the click waits for none of them"


def test_the_printed_steps_and_the_listed_models(clicks: Any) -> None:
    models = requests.get(f"{clicks.url}/info/", timeout=10).json()["models"]
    assert [models[f"sam_{mode}"]["dimension"] for mode in ("2d", "3d", "labels")] == [2, 3, 3]
    line = next(line for line in clicks.log.read_text().splitlines() if line.strip().startswith("curl"))
    assert "/infer/tubes?" in line, "a task that needs no clicks"
    assert "500" not in {str(ask(clicks, "sam_2d", "ct_1", {"foreground": [[0, 0, 0]]}).status_code)}
