"""The scintigraphy app on the real server: scans are restored, and pairs use the same queue and gate."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from monailabel.client import MONAILabelClient

from lib.data.scintigraphy.skeleton import write_pairs
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, UNFINISHED
from lib.models.weights import save_weights
from lib.records.versions import champion
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import load_app
from tests.data.scintigraphy.conftest import make_counts, write_scan
from tests.server.conftest import ROOT
from tests.tasks.restoration.conftest import APP

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Any], command: Callable) -> Any:
    """A server of the tiny app, with eight pairs and one NM scan."""
    where = tmp_path_factory.mktemp("scintigraphy")
    app, studies = where / "app", where / "studies"
    app.mkdir()
    shutil.copy(ROOT / "apps" / "scintigraphy" / "main.py", app)
    (app / "app.toml").write_text(APP.replace("held_out_patients = 2", "held_out_patients = 3"))
    task = load_app(app).tasks[0]
    weights = app / "starter" / task.model / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    save_weights(build_network(task), weights)
    write_pairs(studies, count=8, seed=1, pixel_mm=12.0)
    write_scan(studies / "child.dcm", make_counts())
    return launch(command, app, studies, where)


def test_info_lists_the_app_and_the_store_has_only_scans(served: Any) -> None:
    info = requests.get(f"{served.url}/info/", timeout=30).json()
    assert info["models"]["bones"]["type"] == "others" and info["labels"] == [] and "bones" in info["trainers"]
    studies = requests.get(f"{served.url}/datastore/?output=all", timeout=30).json()["objects"]
    assert set(studies) == {"child", *(f"skeleton_{n:04d}" for n in range(8))}


def test_monai_labels_client_gets_the_restored_scan(served: Any, tmp_path: Path) -> None:
    client = MONAILabelClient(served.url, str(tmp_path))
    file, params = client.infer("bones", "child", {"result_extension": ".dcm"})
    made = pydicom.dcmread(file)
    assert made.ImageType[0] == "DERIVED" and made.CountsAccumulated == pytest.approx(2 * make_counts().sum(), rel=1e-3)
    assert params["version"] == "starter" and params["notes"][0].startswith("PROCESSED IMAGE")


def test_an_uploaded_scan_and_its_uncertainty(served: Any, tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "sent.dcm", make_counts(seed=3))
    answers = []
    for result in ("restored", "uncertainty"):
        with scan.open("rb") as file:
            sent = {"params": f'{{"result": "{result}", "result_extension": ".nrrd"}}'}
            answers.append(
                requests.post(f"{served.url}/infer/bones?output=image", data=sent, files={"file": file}, timeout=60)
            )
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].content[:4] == answers[1].content[:4] == b"NRRD" and answers[0].content != answers[1].content


def test_a_file_that_is_not_a_scan_is_refused_with_the_reason(served: Any, tmp_path: Path) -> None:
    smooth = write_scan(tmp_path / "smooth.dcm", np.full((2, 48, 24), 9, np.uint16))
    with smooth.open("rb") as file:
        answer = requests.put(f"{served.url}/datastore/image?image=smooth", files={"file": file}, timeout=60)
    assert answer.status_code == 422 and answer.json()["code"] == "NOT_COUNTS", answer.text
    wrong = requests.post(f"{served.url}/infer/bones?image=child", data={"params": '{"fraction": 2}'}, timeout=60)
    assert 400 <= wrong.status_code < 500 and "fraction" in wrong.text


def test_pairs_are_trained_on_through_queue_and_gate(served: Any, wait: Callable, tmp_path: Path) -> None:
    other = write_scan(tmp_path / "other.dcm", make_counts(shape=(40, 24)))
    with other.open("rb") as file:
        answer = requests.put(f"{served.url}/datastore/label?image=child&tag=final", files={"label": file}, timeout=60)
    assert answer.status_code == 422 and answer.json()["code"] == "PAIR_GRID", answer.text
    standard = write_scan(tmp_path / "standard.dcm", make_counts(seed=5) + make_counts(seed=6), ScanVelocity=2.5)
    with standard.open("rb") as file:
        answer = requests.put(f"{served.url}/datastore/label?image=child&tag=final", files={"label": file}, timeout=60)
    assert answer.status_code == 200 and answer.json()["findings"] == []
    begun = requests.post(f"{served.url}/train/bones", json={}, timeout=60).json()
    queue = Queue(served.app)
    wait(lambda: queue.jobs.get(begun["id"]).status not in UNFINISHED, 240, "the training")
    job = queue.jobs.get(begun["id"])
    assert job.status == DONE, queue.tail(job)
    assert "PSNR" in job.result["reason"] and job.result["verdict"] in ("publish", "reject"), job.result
    version = champion(open_task_versions(served.app, load_app(served.app).tasks[0]).root)
    assert (version is not None) == job.result["published"]
    page = requests.get(f"{served.url}/admin/versions", timeout=60)
    assert page.status_code == 200 and "PSNR" in page.text
