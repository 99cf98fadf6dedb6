"""The kinds of job, with an app opened in the process of the job."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.jobs.queue.job import Job
from lib.jobs.queue.run import Run
from lib.records.ledger import Ledger
from lib.records.versions import list_versions
from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs import kinds
from lib.tasks.jobs.kinds import KINDS, devices, run_name
from lib.tasks.serving.weights import versions_dir
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.case_scores import CaseScores


@pytest.fixture
def start_job(app: TopoLabelApp, app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Submit and start a job of the app."""
    monkeypatch.setattr(kinds, "app_instance", lambda: app)

    def start(kind: str, subject: str, request: dict[str, Any], progress: dict[str, Any] | None = None) -> Run:
        app.datastore().refresh()
        name = app.queue.submit(kind, subject, request).id
        app.queue.jobs.claim(name)
        app.queue.jobs.save_progress(name, progress or {})
        return Run(app_dir, app.queue.jobs.get(name), "cpu", app.queue.jobs)

    return start


def states(app_dir: Path) -> Sequence[tuple[str, str]]:
    return [(row.body["kind"], row.body["state"]) for row in Ledger.of(app_dir).rows("job")]


def test_train_writes_a_version_with_the_name_of_its_job(
    start_job: Callable[..., Run], app_dir: Path, task: TaskSpec, starter: Path, tmp_path: Path, write_ct: Callable
) -> None:
    for seed in range(3):
        write_ct(seed, folder=tmp_path / "studies", label_folder=tmp_path / "studies" / "labels" / "final")
    run = start_job("train", "tubes", {"model": "tubes", "max_epochs": 1, "client_id": "Anna"})
    answer = KINDS["train"](run)
    finished = run.jobs.get(run.job.id)
    assert [version.name for version in list_versions(versions_dir(app_dir, task))] == [answer["version"]]
    assert answer["version"] == run_name(run.job)
    assert finished.progress["device"] == "cpu" and 0 < finished.fraction <= 1 and finished.progress["text"]
    assert states(app_dir) == [("train", "started"), ("train", "done")]
    assert KINDS["train"](run) == answer, "a job that is started again has nothing left to do"
    assert len(list_versions(versions_dir(app_dir, task))) == 1


def test_batch_infer_resumes_with_the_remaining_studies(
    start_job: Callable[..., Run], app_dir: Path, starter: Path, tmp_path: Path, write_ct: Callable
) -> None:
    for seed in range(1, 3):
        write_ct(seed, folder=tmp_path / "studies")
    run = start_job(
        "batch_infer",
        "tubes",
        {"model": "tubes", "images": "all", "save_label": True, "label_tag": "original"},
        {"done": ["ct_0"], "fraction": 1 / 3},
    )
    answer = KINDS["batch_infer"](run)
    assert set(answer) == {"ct_0", "ct_1", "ct_2"} and answer["ct_0"] == {"label": "ct_0"}
    written = sorted(path.name for path in (tmp_path / "studies" / "labels" / "original").glob("*.nii.gz"))
    assert written == ["ct_1.nii.gz", "ct_2.nii.gz"], "the first one was inferred before the interruption"
    assert states(app_dir) == [("batch_infer", "resumed"), ("batch_infer", "done")]


def test_scoring_is_recorded(start_job: Callable[..., Run], app_dir: Path, tmp_path: Path, write_ct: Callable) -> None:
    for tag in ("final", "original"):
        write_ct(0, folder=tmp_path / "studies", label_folder=tmp_path / "studies" / "labels" / tag)
    answer = KINDS["scoring"](start_job("scoring", "dice", {"method": "dice"}))
    assert answer["ct_0"]["mean"] == 1.0
    assert states(app_dir) == [("scoring", "started"), ("scoring", "done")]


def test_case_scoring_ends_early_for_a_training_and_submits_a_successor(
    start_job: Callable[..., Run], app: TopoLabelApp, app_dir: Path, task: TaskSpec, starter: Path
) -> None:
    app.datastore().refresh()
    method = CaseScores(app_dir, replace(task, scores=ScoreSpec(samples=2)), app.queue)
    app.scorings[method.name] = method
    run = start_job("scoring", method.name, method.request("starter"))
    waits = app.queue.submit("train", "tubes", {"model": "tubes"})
    answer = KINDS["scoring"](run)
    assert answer["gave_way"] and answer["scored"] == 0
    successor = app.queue.jobs.list(unfinished=True)[-1]
    assert (successor.number, successor.subject) == (
        waits.number + 1,
        method.name,
    ) and successor.request == run.job.request
    app.queue.jobs.stop(waits.id)
    app.queue.jobs.claim(successor.id)
    answer = KINDS["scoring"](replace(run, job=successor))
    assert (answer["scored"], answer["of"], answer["gave_way"]) == (1, 1, False)
    assert app.queue.jobs.get(successor.id).progress["text"] == "study 1 of 1"
    assert states(app_dir) == [("scoring", "started"), ("scoring", "done")] * 2
    assert method.status(app.datastore()).summary["pending"] is False


def job(**facts: Any) -> Job:
    plain = {"number": 1, "id": "ab" * 16, "kind": "train", "subject": "a", "request": {}, "origin": ""}
    return Job(**{**plain, "status": "RUNNING", "created": 0.0, "started": None, "ended": None, **facts})


def test_names_of_runs_sort_by_creation_time() -> None:
    names = [run_name(job(created=seconds, id=f"{9 - k}" * 32)) for k, seconds in enumerate((1e9, 1e9 + 1, 2e9))]
    assert names == sorted(names) and names[0] == "20010909-014640-999999"


@pytest.mark.parametrize(
    ("gpus", "requested", "expected"),
    [
        (0, "cuda", ["cpu"]),
        (2, "", ["cuda:0", "cuda:1"]),
        (2, "cpu", ["cpu"]),
        (2, "cuda:1", ["cuda:1"]),
        (2, ["cuda:1 (NVIDIA)"], ["cuda:1"]),
        (2, "cuda:7", ["cuda:0", "cuda:1"]),
    ],
)
def test_a_job_runs_on_the_requested_device_or_any_gpu_or_the_cpu(
    monkeypatch: pytest.MonkeyPatch, gpus: int, requested: Any, expected: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert list(devices(job(request={"device": requested}))) == expected
