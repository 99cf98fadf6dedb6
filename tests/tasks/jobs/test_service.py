"""The background thread: it copies logs, carries out decisions, applies the policy and frees GPU memory."""

import errno
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.jobs import publish
from lib.jobs.gate import PUBLISH, Decision
from lib.jobs.policy import PolicySpec
from lib.jobs.publish import register
from lib.records.versions import champion, find_version, write_version
from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs import service as module
from lib.tasks.jobs.service import Service
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import load_app


@pytest.fixture
def service(app: TopoLabelApp) -> Service:
    return Service(app)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "task_train"]


def test_lines_of_a_jobs_log_are_copied_to_the_servers_log_once(
    app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = app.queue.submit("train", "tubes", {})
    log = app.queue.log(job)
    log.parent.mkdir(parents=True)
    log.write_bytes("épo".encode()[:1])
    service.copy_logs()
    assert lines(caplog) == [], "only complete lines are copied"
    log.write_bytes("époque 1\nhalf".encode())
    service.copy_logs()
    assert lines(caplog) == ["époque 1"]
    app.queue.jobs.claim(job.id)
    app.queue.stop(job.id)
    service.copy_logs()
    with log.open("a") as file:
        file.write(" done\nstopped")
    service.copy_logs()
    assert lines(caplog) == ["époque 1", "half done"], "a stopped job ends before its process does"
    monkeypatch.setattr(module, "LOG_TAIL_SECONDS", -1.0)
    for _ in range(3):
        service.copy_logs()
    assert lines(caplog) == ["époque 1", "half done", "stopped"]


def test_many_labels_submit_one_job(app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app.spec = replace(app.spec, policy=PolicySpec(retrain_after=2))
    monkeypatch.setattr(module, "POLICY_SECONDS", 0.0)
    for hundred in range(10):
        with app.ledger.writing() as writer:
            for number in range(100):
                writer.append("label", f"ct_{hundred}_{number}", {"tag": "final", "source": "submitted"})
        service.apply_policy()
    (job,) = app.queue.jobs.list()
    assert (job.kind, job.subject, job.origin) == ("train", "tubes", "policy")


def test_a_student_is_queued_after_its_teacher_is_published(
    app: TopoLabelApp, app_dir: Path, service: Service, starter: Path
) -> None:
    """A teacher that an admin promotes counts as well; app.toml declares the student."""
    text = (app_dir / "app.toml").read_text()
    block = text[text.index("[[task]]") :].replace('name = "tubes"', 'name = "quick"')
    (app_dir / "app.toml").write_text(text.replace('name = "tubes"', 'name = "tubes"\nstudent = "quick"') + block)
    app.spec = load_app(app_dir)
    app._trainers = app.init_trainers()
    service.apply_policy()
    assert app.queue.jobs.list() == []
    task = app.spec.task("tubes")
    write_version(open_task_versions(app_dir, task).root, build_network(task).state_dict(), {}, name="v1")
    promote(app_dir, "tubes", "v1")
    service._policy_checked = 0.0
    service.apply_policy()
    (job,) = app.queue.jobs.list()
    assert (job.kind, job.subject, job.origin) == ("train", "quick", "policy")


def test_a_decision_of_a_killed_process_is_carried_out(
    app: TopoLabelApp, service: Service, app_dir: Path, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = app.spec.tasks[0]
    versions = open_task_versions(app_dir, task)
    write_version(versions.root, build_network(task).state_dict(), {"parent": "starter"}, name="v1")
    register(versions, find_version(versions.root, "v1"), {})
    service.apply_decisions()
    with monkeypatch.context() as killed:
        killed.setattr(publish, "apply_last_decision", lambda _: None)
        publish.apply_decision(versions, "v1", Decision(PUBLISH, ("better",)), compared_with=versions.served)
    assert champion(versions.root) is None
    with monkeypatch.context() as read_only:
        read_only.setattr(publish, "set_alias", refuse)
        service.apply_decisions()
    assert champion(versions.root) is None
    service.apply_decisions()
    served = champion(versions.root)
    assert served is not None and served.name == "v1"


def refuse(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_idle_networks_are_removed_from_the_gpu_for_a_training(
    app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[float] = []
    monkeypatch.setattr(app.infers["tubes"], "release", lambda seconds: released.append(seconds) or True, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    service.free_gpu()
    assert released == [], "no training runs"
    app.queue.jobs.claim(app.queue.submit("train", "tubes", {}).id)
    service.free_gpu()
    assert released == [module.IDLE_SECONDS]


def test_it_starts_a_worker_and_copies_only_new_log_lines(
    app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    commands: list[list[str]] = []

    class Recorded:
        def __init__(self, command: list[str], log: Path) -> None:
            commands.append(command)

        def start(self) -> None: ...

    started: list[object] = []
    monkeypatch.setattr(module, "Supervisor", Recorded)
    monkeypatch.setattr(module.threading.Thread, "start", lambda thread: started.append(thread))
    old = app.queue.submit("train", "tubes", {})
    app.queue.log(old).parent.mkdir(parents=True)
    app.queue.log(old).write_text("old line\n")
    service.start()
    with app.queue.log(old).open("a") as file:
        file.write("new line\n")
    service.copy_logs()
    assert lines(caplog) == ["new line"] and started == [service]
    assert commands[0][1:5] == ["-m", "lib", "jobs", "work"] and commands[0][5] == app.app_dir


def test_a_failing_step_does_not_stop_the_other_steps(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    class EndOfTest(BaseException):
        pass

    def end() -> None:
        raise EndOfTest

    fail.__name__ = "copy_logs"
    monkeypatch.setattr(service, "copy_logs", fail)
    monkeypatch.setattr(service, "apply_policy", end)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.0)
    with pytest.raises(EndOfTest):
        service.run()
    assert "copy_logs failed and is tried again: the disk is full" in caplog.text
