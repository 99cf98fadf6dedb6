"""Labels over HTTP: names in every form that clients send, and files that were put into labels/final by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests

from lib.data.cases import find_cases
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.tasks.spec import load_app
from lib.tasks.training.checked_cases import check_cases
from tests.cases import write_cases
from tests.server.conftest import tiny_ct

pytestmark = pytest.mark.server

REFUSED = {"other_grid", "value_9", "fractional", "two_labels", "shift_affine", "nnunet", "no_image_of_it"}
RIGHT = {"p1", "p2", "p3", "p4", "other_suffix", "scan.v2"}
NAMED = [{"name": "trachea", "idx": 1}, {"name": "pharynx", "idx": 2}]


@pytest.fixture(scope="module")
def airway(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Any], command: Callable, new_app: Callable
) -> Any:
    """A server with the labels of the airway, whose labels/final was filled by hand."""
    where = tmp_path_factory.mktemp("airway")
    studies, app = write_cases("labels_put_by_hand", where / "studies"), new_app(where / "app")
    names = '["nasal_cavity", "sinuses", "pharynx", "larynx", "trachea"]'
    (app / "app.toml").write_text((app / "app.toml").read_text().replace('["tube", "cavity"]', names))
    return launch(command, app, studies, where)


@pytest.fixture(scope="module")
def truth(airway: Any) -> np.ndarray:
    return np.asarray(nib.load(airway.studies / "labels" / "final" / "p1.nii.gz").dataobj)


def put(server: Any, path: Path, params: Any, image: str = "p1") -> requests.Response:
    with path.open("rb") as file:
        url = f"{server.url}/datastore/label?image={image}&tag=named"
        data = {"params": json.dumps(params)}
        return requests.put(url, files={"label": (path.name, file)}, data=data, timeout=120)


@pytest.mark.parametrize(
    ("label_info", "code"),
    [
        (NAMED, ""),
        ([{"name": "trachea", "idx": 1.0}, {"name": "Pharynx", "idx": "2"}], ""),
        ({"trachea": 1, "pharynx": 2}, ""),
        ({"1": "trachea", "2": "pharynx"}, ""),
        (json.dumps(NAMED), ""),
        (["trachea", "pharynx"], ""),
        ([{"name": "trachea"}, {"name": "pharynx"}], ""),
        (["trachea"], "LABEL_NAMES"),
        ([{"name": "trachea", "idx": 1}], "LABEL_NAMES"),
        ([*NAMED, {"name": "larynx", "idx": 1}], "LABEL_NAMES"),
        ([{"name": "trachea", "idx": 1}, {"name": "trachea", "idx": 2}], "LABEL_NAMES"),
        ([{"name": "liver", "idx": 1}, {"name": "pharynx", "idx": 2}], "LABEL_NAMES"),
        (["trachea", 7], "LABEL_NAMES"),
        ("trachea", "LABEL_NAMES"),
        (7, "LABEL_NAMES"),
        ([["trachea", 1]], "LABEL_NAMES"),
    ],
)
def test_names_are_honoured_or_refused(
    airway: Any, truth: np.ndarray, tmp_path: Path, write_nifti: Callable, label_info: Any, code: str
) -> None:
    affine = nib.load(airway.studies / "p1.nii.gz").affine
    voxels = np.select([truth == 5, truth == 3], [1, 2]).astype(np.uint8)
    path = write_nifti(voxels, tmp_path / "label.nii.gz", affine)
    answer = put(airway, path, {"label_info": label_info})
    if code:
        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, code) and body["reason"] and body["remedy"]
        assert (airway.app / body["kept"]).read_bytes() == path.read_bytes(), "nothing that was sent is lost"
        return
    assert answer.ok, answer.text
    saved = nib.load(airway.studies / "labels" / "named" / "p1.nii.gz")
    assert np.array_equal(np.asarray(saved.dataobj), truth) and np.allclose(saved.affine, affine)
    info = requests.get(f"{airway.url}/datastore/?output=all", timeout=60).json()["objects"]["p1"]["labels"]["named"]
    assert {"name": "trachea", "idx": 5} in info["info"]["label_info"], "the names of the saved file"


def test_a_label_of_a_person_is_recorded_as_submitted_whatever_params_say(airway: Any) -> None:
    params = {"model": "tubes", "params": {"version": "v7"}}
    assert put(airway, airway.studies / "labels" / "final" / "p2.nii.gz", params, "p2").ok
    row = Ledger.of(airway.app).rows("label", "p2")[-1]
    assert (row.body["source"], row.body["who"], row.body["version"]) == ("submitted", "admin", "")
    newest = requests.get(f"{airway.url}/admin/labels", timeout=60).text.split('<li class="card">')[1]
    assert "<bdi>p2</bdi>" in newest and "<bdi>named</bdi>, submitted" in newest


def test_files_put_by_hand_are_used_or_named_with_their_reason(airway: Any, wait: Callable) -> None:
    def listed(name: str) -> bool:
        return f"<strong><bdi>{name}</bdi></strong>" in requests.get(f"{airway.url}/admin/labels", timeout=60).text

    def labelled() -> set[str]:
        found = requests.get(f"{airway.url}/datastore/?output=all", timeout=60).json()["objects"]
        return {name for name, entry in found.items() if "final" in entry["labels"]}

    wait(lambda: all(listed(name) for name in REFUSED), 60, "the refused labels to be listed")
    assert labelled() == RIGHT and not any(listed(name) for name in RIGHT)
    text = requests.get(f"{airway.url}/admin/labels", timeout=60).text
    assert "LABEL_GRID" in text and "95 x 88 x 40, the image has 96 x 88 x 40" in text
    answer = requests.get(f"{airway.url}/datastore/label?label=value_9&tag=final", timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_SUCH_LABEL")
    recorded = {row.subject for row in Ledger.of(airway.app).rows("label") if row.body["source"] == "found"}
    assert recorded == RIGHT

    final = airway.studies / "labels" / "final"
    shutil.copy(final / "value_9.nii.gz", final / "nnunet_0000.nii.gz")
    wait(lambda: listed("nnunet_0000"), 60, "a file that was put there while the server runs to be refused")
    shutil.copy(final / "p1.nii.gz", final / "nnunet_0000.nii.gz")
    wait(lambda: "nnunet_0000" in labelled() and not listed("nnunet_0000"), 60, "the corrected file to be used")


def test_a_label_covers_the_labels_that_the_client_names(
    server: Any, tmp_path: Path, write_nifti: Callable, wait: Callable
) -> None:
    """The row, the file beside the label, the page and the next training know what a label covers."""
    truth = tiny_ct(3)[1]
    path = write_nifti(np.where(truth == 1, 1, 0).astype(np.uint8), tmp_path / "label.nii.gz", np.diag([2.0, 2, 2, 1]))

    def send(params: Any, file: Path = path) -> requests.Response:
        with file.open("rb") as content:
            data = {"params": json.dumps(params)}
            url = f"{server.url}/datastore/label?image=ct_3&tag=final"
            return requests.put(url, files={"label": (file.name, content)}, data=data, timeout=120)

    for wrong in (["liver"], [], "tube", ["cavity"]):
        answer = send({"covered": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "COVERED"), answer.text
        assert answer.json()["reason"] and answer.json()["remedy"]
    assert send({"covered": ["Tube"]}).ok
    beside = server.studies / "labels" / "final" / "ct_3.covered.json"
    assert json.loads(beside.read_text()) == {"covered": ["tube"]}
    row = Ledger.of(server.app).rows("label", "ct_3")[-1]
    assert (row.body["covered"], row.body["labels"]) == (["tube"], ["tube", "cavity"])
    page = requests.get(f"{server.url}/admin/labels", timeout=60).text.split('<li class="card">')[1]
    assert "<dt>Covers</dt><dd><bdi>tube</bdi></dd>" in page and "not used" not in page
    app = load_app(server.app)
    versions = LabelVersions(server.app, Ledger.of(server.app), app.tasks[0].labels)
    cases = {case.id: case for case in check_cases(app, versions, find_cases(server.studies))}
    assert cases["ct_3"].covered == ("tube",) and Ledger.of(server.app).verify() == []

    assert send({}).ok and not beside.exists(), "a later submission replaces it"
    assert Ledger.of(server.app).rows("label", "ct_3")[-1].body["covered"] == ["tube", "cavity"]
    page = requests.get(f"{server.url}/admin/labels", timeout=60).text.split('<li class="card">')[1]
    assert "<dt>Covers</dt><dd>all labels</dd>" in page
    assert requests.delete(f"{server.url}/datastore/label?id=ct_3&tag=final", timeout=60).ok
