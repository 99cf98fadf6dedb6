"""One job in this process: its end is written to the table, with a result, an error or a stop."""

import os

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED
from lib.jobs.queue.run import Run, execute
from lib.jobs.queue.table import Jobs
from tests.jobs.queue.processes import KINDS, cpu


def begin(queue: Queue, kind: str, **request) -> str:
    name = queue.submit(kind, "a", request).id
    assert queue.jobs.claim(name)
    return name


def test_a_finished_job_has_its_result(queue: Queue) -> None:
    name = begin(queue, "count", to=3)
    assert execute(queue.app_dir, name, KINDS, cpu)
    job = queue.jobs.get(name)
    assert job.status == DONE and job.result == {"counted": 3, "from": 0}
    assert job.fraction == 1.0 and job.progress["device"] == "cpu"


def test_a_failed_job_has_its_reason_in_one_line(queue: Queue) -> None:
    name = begin(queue, "fail")
    assert not execute(queue.app_dir, name, KINDS, cpu)
    job = queue.jobs.get(name)
    assert job.status == ERROR and job.reason == "ValueError: this one fails"


def test_an_end_that_cannot_be_written_is_shown_by_the_exit_status(queue: Queue, monkeypatch) -> None:
    name = begin(queue, "fail")
    monkeypatch.setattr(Jobs, "finish", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(SystemExit) as ended:
        execute(queue.app_dir, name, KINDS, cpu)
    assert ended.value.code == os.EX_IOERR


def test_a_job_that_was_stopped_meanwhile_does_not_start(queue: Queue) -> None:
    name = begin(queue, "count", to=3)
    queue.stop(name)
    assert execute(queue.app_dir, name, KINDS, cpu)
    assert queue.jobs.get(name).status == STOPPED and not (queue.app_dir / f"{name}.txt").exists()


def test_an_error_while_saving_progress_does_not_stop_the_job(queue: Queue, monkeypatch) -> None:
    name = begin(queue, "count", to=2)
    run = Run(queue.app_dir, queue.jobs.get(name), "cpu", queue.jobs)
    monkeypatch.setattr(queue.jobs, "save_progress", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    run.report_progress({"fraction": 0.5}, always=True)
    assert queue.jobs.get(name).status == RUNNING
