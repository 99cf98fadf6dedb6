"""Beside the requests: logs passed on, decisions settled, policies heeded, GPUs cleared."""

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
from lib.tasks.serving.weights import build_network, shelf
from lib.tasks.spec import load_app


@pytest.fixture
def service(app: TopoLabelApp) -> Service:
    return Service(app)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "task_train"]


def test_what_a_job_says_is_in_the_servers_log_once(
    app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = app.queue.submit("train", "tubes", {})
    log = app.queue.log(job)
    log.parent.mkdir(parents=True)
    log.write_bytes("épo".encode()[:1])
    service.follow()
    assert lines(caplog) == [], "a line is passed on when it is whole"
    log.write_bytes("époque 1\nhalf".encode())
    service.follow()
    assert lines(caplog) == ["époque 1"]
    app.queue.jobs.claim(job.id)
    app.queue.stop(job.id)
    service.follow()
    with log.open("a") as file:
        file.write(" done\nstopped")
    service.follow()
    assert lines(caplog) == ["époque 1", "half done"], "a stopped job is over before its process is"
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", -1.0)
    for _ in range(3):
        service.follow()
    assert lines(caplog) == ["époque 1", "half done", "stopped"]


def test_many_labels_make_one_job(app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app.spec = replace(app.spec, policy=PolicySpec(retrain_after=2))
    monkeypatch.setattr(module, "POLICY_SECONDS", 0.0)
    for hundred in range(10):
        with app.ledger.writing() as writer:
            for number in range(100):
                writer.append("label", f"ct_{hundred}_{number}", {"tag": "final", "source": "submitted"})
        service.heed_policy()
    (job,) = app.queue.jobs.list()
    assert (job.kind, job.subject, job.origin) == ("train", "tubes", "policy")


def test_a_student_is_queued_after_its_teacher_was_published(
    app: TopoLabelApp, app_dir: Path, service: Service, starter: Path
) -> None:
    """One that was published by nobody's word but a person's counts as well; the student is declared in app.toml."""
    text = (app_dir / "app.toml").read_text()
    block = text[text.index("[[task]]") :].replace('name = "tubes"', 'name = "quick"')
    (app_dir / "app.toml").write_text(text.replace('name = "tubes"', 'name = "tubes"\nstudent = "quick"') + block)
    app.spec = load_app(app_dir)
    app._trainers = app.init_trainers()
    service.heed_policy()
    assert app.queue.jobs.list() == []
    task = app.spec.task("tubes")
    write_version(shelf(app_dir, task).root, build_network(task).state_dict(), {}, name="v1")
    promote(app_dir, "tubes", "v1")
    service._asked = 0.0
    service.heed_policy()
    (job,) = app.queue.jobs.list()
    assert (job.kind, job.subject, job.origin) == ("train", "quick", "policy")


def test_what_a_killed_publisher_decided_is_carried_out(
    app: TopoLabelApp, service: Service, app_dir: Path, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = app.spec.tasks[0]
    place = shelf(app_dir, task)
    write_version(place.root, build_network(task).state_dict(), {"parent": "starter"}, name="v1")
    register(place, find_version(place.root, "v1"), {})
    service.settle()
    with monkeypatch.context() as killed:
        killed.setattr(publish, "settle", lambda _: None)
        publish.carry_out(place, "v1", Decision(PUBLISH, ("better",)), against=place.served)
    assert champion(place.root) is None
    with monkeypatch.context() as read_only:
        read_only.setattr(publish, "set_alias", refuse)
        service.settle()
    assert champion(place.root) is None
    service.settle()
    served = champion(place.root)
    assert served is not None and served.name == "v1"


def refuse(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_networks_that_nobody_uses_leave_the_gpu_to_a_training(
    app: TopoLabelApp, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(app.infers["tubes"], "release", lambda seconds: asked.append(seconds) or True, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    service.make_room()
    assert asked == [], "nothing trains"
    app.queue.jobs.claim(app.queue.submit("train", "tubes", {}).id)
    service.make_room()
    assert asked == [module.IDLE_SECONDS]


def test_it_starts_a_worker_and_follows_only_what_is_new(
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
    app.queue.log(old).write_text("said before\n")
    service.start()
    with app.queue.log(old).open("a") as file:
        file.write("said since\n")
    service.follow()
    assert lines(caplog) == ["said since"] and started == [service]
    assert commands[0][1:5] == ["-m", "lib", "jobs", "work"] and commands[0][5] == app.app_dir


def test_one_deed_that_fails_keeps_no_other_from_its_turn(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    class Enough(BaseException):
        pass

    def end() -> None:
        raise Enough

    fail.__name__ = "follow"
    monkeypatch.setattr(service, "follow", fail)
    monkeypatch.setattr(service, "heed_policy", end)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.0)
    with pytest.raises(Enough):
        service.run()
    assert "follow: the disk is full" in caplog.text
