"""Jobs on the real server: both client classes control them, and a killed job resumes from its checkpoint."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from monailabel.client import MONAILabelClient

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, RUNNING, STOPPED, UNFINISHED
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import list_versions

pytestmark = pytest.mark.server
EPOCH_STEPS = 128 // 8
LONG = {"max_epochs": 400, "val_interval": 400}


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
) -> Any:
    """A server for this file, without labels."""
    where = tmp_path_factory.mktemp("jobs")
    return launch(command, new_app(where / "app"), new_studies(where / "studies", 4), where)


def label(client: Any, count: int, make_ct: Callable, write_nifti: Callable, folder: Path) -> None:
    for seed in range(count):
        path = write_nifti(make_ct(seed)[1], folder / f"label_{seed}.nii.gz")
        client.save_label(f"ct_{seed}", str(path), "final", {"label_info": []})


@pytest.fixture(params=["monailabel", "slicer"])
def either(request: pytest.FixtureRequest, served: Any, slicer: ModuleType, tmp_path: Path) -> Any:
    """A client of either class."""
    kind = MONAILabelClient if request.param == "monailabel" else slicer.MONAILabelClient
    return kind(served.url, str(tmp_path), "Anna")


def test_both_clients_train_stop_and_read_status_and_logs(
    either: Any, served: Any, make_ct: Callable, write_nifti: Callable, wait: Callable, tmp_path: Path
) -> None:
    assert not either.train_status(check_if_running=True)
    sample = either.next_sample("random", {}) or {"id": "ct_0"}
    file, answer = either.infer("tubes", sample.get("id") or "ct_0", {"result_extension": ".nrrd"})
    assert Path(file).stat().st_size and answer["label_names"] == {"tube": 1, "cavity": 2}
    label(either, 3, make_ct, write_nifti, tmp_path)

    task = either.train_start("tubes", LONG)
    assert task["status"] in UNFINISHED and task["request"]["client_id"] == "Anna"
    wait(lambda: "step" in Queue(served.app).jobs.get(task["id"]).progress, 240, "the first steps")
    assert either.train_status(check_if_running=True)
    status = either.train_status()
    assert status["status"] == RUNNING and status["id"] == task["id"] and status["progress"]["eta_seconds"] > 0
    assert next(iter(either.info()["train_stats"])) == "tubes"
    stopped = either.train_stop()
    assert stopped["id"] == task["id"] and stopped["status"] == STOPPED
    wait(lambda: Queue(served.app).ledger.rows("job")[-1].body["state"] == "stopped", 60, "the trainer to stop")
    assert not either.train_status(check_if_running=True) and either.train_status()["status"] == STOPPED
    logs = f"{served.url}/logs/?lines=4000&text=true"
    wait(lambda: "stopped on request" in requests.get(logs, timeout=10).text, 60, "the log")
    assert "training tubes" in requests.get(logs, timeout=10).text
    assert list_versions(served.app / "model" / "tubes") == [], "a stopped training leaves no version"


def test_update_model_trains_only_tasks_with_new_labels(
    served: Any, slicer: ModuleType, make_ct: Callable, write_nifti: Callable, wait: Callable, tmp_path: Path
) -> None:
    client = slicer.MONAILabelClient(served.url, str(tmp_path), "Anna")
    queue = Queue(served.app)
    label(client, 4, make_ct, write_nifti, tmp_path)
    # The viewers' button names no model; the body has the options by model.
    begun = client.train_start(None, {"tubes": {"max_epochs": 1, "val_interval": 1}})["tubes"]
    assert begun["result"]["status"] in UNFINISHED
    again = client.train_start(None, {})["tubes"]
    assert again["result"]["id"] == begun["result"]["id"] and "Already Running" in again["detail"]
    wait(lambda: queue.jobs.get(begun["result"]["id"]).status not in UNFINISHED, 240, "the training")
    job = queue.jobs.get(begun["result"]["id"])
    assert job.status == DONE, queue.tail(job)
    nothing = client.train_start(None, {})["tubes"]
    assert nothing["result"] is None and "No label was submitted" in nothing["detail"]
    with pytest.raises(Exception, match="there is: tubes"):
        client.train_start("other", {})


def group_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def test_a_training_resumes_from_its_last_checkpoint_after_a_restart(
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
    make_ct: Callable,
    write_nifti: Callable,
    wait: Callable,
) -> None:
    app, studies = new_app(tmp_path / "app"), new_studies(tmp_path / "studies", 4)
    first = launch(command, app, studies, tmp_path)
    client, queue = MONAILabelClient(first.url, str(tmp_path), "Anna"), Queue(app)
    label(client, 4, make_ct, write_nifti, tmp_path)
    name = client.train_start("tubes", {"max_epochs": 12, "val_interval": 4})["id"]
    body = {"max_epochs": 1, "val_interval": 1}
    waits = requests.post(f"{first.url}/train/tubes?enqueue=true", json=body, timeout=30).json()["id"]
    wait(lambda: queue.jobs.get(name).progress.get("epoch", 0) >= 3, 240, "three epochs")
    stood = queue.jobs.get(name).progress
    for pid in group_of(first.process.pid):
        os.kill(pid, signal.SIGKILL)
    first.process.wait()

    second = launch(command, app, studies, tmp_path)
    wait(lambda: queue.jobs.get(name).progress.get("step", 0) > stood["step"], 240, "it to go on")
    wait(lambda: queue.jobs.get(waits).status not in UNFINISHED, 300, "both jobs")
    job = queue.jobs.get(name)
    assert job.status == DONE and queue.jobs.get(waits).status == DONE, queue.tail(job)
    states = [row.body["state"] for row in Ledger.of(app).rows("job") if row.body["job"] == job.result["version"]]
    assert states == ["started", "resumed", "done"]
    (resumed,) = re.findall(r"training resumes after step (\d+) of", queue.log(job).read_text())
    assert stood["step"] - EPOCH_STEPS <= int(resumed) <= stood["step"] + EPOCH_STEPS, "checkpoints are one epoch apart"
    assert verify(app, studies).faults == []
    assert requests.get(f"{second.url}/info/", timeout=10).ok
