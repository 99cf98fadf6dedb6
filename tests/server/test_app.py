"""The real server, driven by MONAI Label's own client class: from a proposal to the next served model."""

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

from lib.jobs.publish import TaskVersions
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.tasks.serving.models import list_models_trained_on, list_training_labels, promote

pytestmark = pytest.mark.server
LABELS = {"tube": 1, "cavity": 2}
UNFINISHED = ("SUBMITTED", "RUNNING")


def test_info(client: MONAILabelClient) -> None:
    info = client.info()
    assert info["labels"] == list(LABELS) and info["models"]["tubes"]["labels"] == LABELS
    assert info["models"]["tubes"]["type"] == "segmentation" and info["models"]["tubes"]["description"] is not None
    assert "tubes" in info["trainers"] and "random" in info["strategies"] and "dice" in info["scoring"]
    assert info["datastore"]["total"] >= 4


def test_infer_multipart(client: MONAILabelClient, server: Any) -> None:
    file, params = client.infer("tubes", "ct_0", {"result_extension": ".nrrd"})
    assert params["label_names"] == LABELS and params["latencies"]["total"] > 0
    result, source = sitk.ReadImage(file), sitk.ReadImage(str(server.studies / "ct_0.nii.gz"))
    assert result.GetSize() == source.GetSize() and result.GetPixelID() == sitk.sitkUInt8
    assert len(np.unique(sitk.GetArrayFromImage(result))) > 1, "random weights give more than one class"


@pytest.mark.parametrize(("output", "kind"), [("image", "application/octet-stream"), ("json", "application/json")])
def test_infer_image_and_json(server: Any, output: str, kind: str) -> None:
    # As OHIF sends it.
    params = {
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    url = f"{server.url}/infer/tubes?image=ct_0&output={output}"
    answer = requests.post(url, data={"params": json.dumps(params)}, timeout=60)
    assert answer.status_code == 200, answer.text
    if output == "json":
        assert answer.json()["label_names"] == LABELS and answer.headers["content-type"] == kind
    else:
        assert answer.content.startswith(b"NRRD") and b"encoding: raw" in answer.content[:1000]


def test_infer_an_uploaded_file_and_a_session(client: MONAILabelClient, server: Any) -> None:
    path = str(server.studies / "ct_1.nii.gz")
    uploaded, _ = client.infer("tubes", "", {"result_extension": ".nii.gz"}, file=path)
    session = client.create_session(path)["session_id"]
    stored, _ = client.infer("tubes", "", {"result_extension": ".nii.gz"}, session_id=session)
    read = [sitk.GetArrayFromImage(sitk.ReadImage(file)) for file in (uploaded, stored)]
    assert np.array_equal(*read) and read[0].any()


def test_info_does_not_wait_for_inference(client: MONAILabelClient, server: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(requests.post, f"{server.url}/infer/tubes?image=ct_{i % 4}", timeout=120) for i in range(8)]
        answers = 0
        while not all(job.done() for job in jobs):
            client.info()
            answers += 1
    assert all(job.result().ok for job in jobs)
    # A server that runs inference in its event loop could answer only between two inferences.
    assert answers > 2 * len(jobs)


def test_the_whole_loop_from_proposal_to_new_model(
    client: MONAILabelClient, server: Any, make_ct: Callable, write_nifti: Callable, wait: Callable
) -> None:
    """Label the selected studies, train, and get the next answer from the new weights without a restart."""
    labelled = []
    for _ in range(4):
        sample = client.next_sample("random", {})
        image = sample["id"]
        assert image not in labelled and Path(sample["path"]).is_file()
        label = write_nifti(make_ct(int(image.removeprefix("ct_")))[1], server.app.parent / "mine" / f"{image}.nii.gz")
        saved = client.save_label(
            image, str(label), "final", {"label_info": [{"name": n, "idx": i} for n, i in LABELS.items()]}
        )
        assert saved["label"] == image
        labelled.append(image)
    assert (server.studies / "labels" / "final" / "ct_0.nii.gz").is_file()
    nothing = client.next_sample("random", {})
    assert not nothing.get("id") and "final label" in nothing["message"]

    before, params = client.infer("tubes", "ct_0", {"result_extension": ".nrrd"})
    assert params["version"] == "starter"
    assert client.train_start("tubes", {"max_epochs": 4})["id"]
    wait(lambda: client.train_status()["status"] not in UNFINISHED, 300, "the training to end")
    status = client.train_status()
    assert status["status"] == "DONE", "\n".join(status["details"])
    stats = client.info()["train_stats"]["tubes"]
    assert stats["total_time"] and stats["total_epochs"] == 4 and stats["score"] > stats["parent_score"]
    assert stats["verdict"] == "hold" and "held-out patients are too few" in stats["reason"]

    held, params = client.infer("tubes", "ct_0", {"result_extension": ".nrrd"})
    assert params["version"] == "starter", "four patients are too few for the gate: an admin decides"
    promote(server.app, "tubes", stats["version"], by="Anna")
    after, params = client.infer("tubes", "ct_0", {"result_extension": ".nrrd"})
    assert params["version"] == stats["version"]
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(file)) for file in (before, held, after)]
    assert np.array_equal(*arrays[:2]) and not np.array_equal(*arrays[1:]), "the new weights answer, without a restart"
    provenance(server, stats["version"], labelled)

    batch_and_scoring(server, wait)
    log = requests.get(f"{server.url}/logs/?lines=4000&text=true", timeout=10).text
    assert "left" in log and f"version {stats['version']} is held" in log, "progress with time left, and the verdict"


def provenance(server: Any, version: str, labelled: list[str]) -> None:
    """Check that model and labels refer to each other and that all files are unchanged."""
    ledger = Ledger.of(server.app)
    learned = list_training_labels(TaskVersions(server.app, "tubes", server.app / "model" / "tubes", ledger), version)
    assert learned and {each["case"] for each in learned} < set(labelled), "one patient is held out"
    for each in learned:
        assert each["source"] == "submitted" and [
            m["version"] for m in list_models_trained_on(server.app, each["label"])
        ] == [version]
    assert verify(server.app, server.studies).faults == []


def batch_and_scoring(server: Any, wait: Callable) -> None:
    # The body is the example of MONAI Label's own page, where multi_gpu divides by zero GPUs.
    body = {"device": "cuda", "multi_gpu": True, "save_label": True, "label_tag": "original"}
    answer = requests.post(f"{server.url}/batch/infer/tubes?images=all", json=body, timeout=30)
    assert answer.ok, answer.text
    url = f"{server.url}/batch/infer"
    wait(lambda: requests.get(url, timeout=10).json()["status"] not in UNFINISHED, 240, "batch inference")
    assert requests.get(url, timeout=10).json()["status"] == "DONE"
    assert len(list((server.studies / "labels" / "original").glob("*.nii.gz"))) >= 4

    assert requests.post(f"{server.url}/scoring/dice", timeout=30).ok
    scores = f"{server.url}/scoring/"
    wait(lambda: requests.get(scores, timeout=10).json()["status"] not in UNFINISHED, 240, "scoring")

    def facts() -> dict[str, Any]:
        store = requests.get(f"{server.url}/datastore/?output=all", timeout=10).json()
        return store["objects"]["ct_0"]["image"]["info"]

    wait(lambda: "dice" in facts(), 60, "the scores")
    assert set(facts()["dice"]) == {*LABELS, "mean"} and 0 <= facts()["dice"]["mean"] <= 1


def test_a_corrected_label_keeps_its_earlier_version_and_its_record(
    client: MONAILabelClient, server: Any, make_ct: Callable, write_nifti: Callable, tmp_path: Path
) -> None:
    client.infer("tubes", "ct_3", {"result_extension": ".nrrd"})
    before, label = len(Ledger.of(server.app).rows("label", "ct_3")), make_ct(3)[1]
    for value in (1, 2):
        voxels = np.where(label > 0, value, 0).astype(np.uint8)
        client.save_label("ct_3", str(write_nifti(voxels, tmp_path / "mine.nii.gz")), "final", {"seconds": 7})
    first, second = Ledger.of(server.app).rows("label", "ct_3")[before:]
    kept = [server.app / name for row in (first, second) for name in row.body["files"]]
    assert kept[0].read_bytes() != kept[1].read_bytes() == (tmp_path / "mine.nii.gz").read_bytes()
    assert (server.studies / "labels" / "final" / "ct_3.nii.gz").read_bytes() == kept[1].read_bytes()
    assert second.body["task"] == "tubes" and second.body["seconds"] == 7
    assert second.body["version"] and second.body["edit_ml"] > 0
    assert verify(server.app, server.studies).faults == []
