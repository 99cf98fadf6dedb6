"""Real workers and real jobs that are stopped, killed and continued."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, SUBMITTED, UNFINISHED, Job
from lib.jobs.queue.table import MAX_CRASHES
from tests.jobs.queue.processes import Process, alive
from tests.waiting import wait_for


def over(queue: Queue, name: str) -> Job:
    wait_for(lambda: queue.jobs.get(name).status not in UNFINISHED)
    return queue.jobs.get(name)


def counted(queue: Queue, name: str) -> list[str]:
    file = queue.app_dir / f"{name}.txt"
    return file.read_text().split() if file.exists() else []


def process_of(queue: Queue, name: str) -> int:
    """Return the id of the process that does a job, found by its command line."""
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
        except OSError:
            continue
        if name.encode() in words and str(queue.app_dir).encode() in words:
            return int(folder.name)
    return 0


def test_jobs_run_in_order_and_end_with_their_status(queue: Queue, worker: Callable[[], Process]) -> None:
    names = [queue.submit(kind, "a", {"to": 2}).id for kind in ("count", "fail", "leave", "count")]
    worker()
    ends = [over(queue, name) for name in names]
    assert [job.status for job in ends] == [DONE, ERROR, ERROR, DONE]
    assert ends[1].reason == "ValueError: this one fails" and ends[2].reason == "there was no way"
    began = [job.started or 0.0 for job in ends]
    assert began == sorted(began), "jobs start in order of submission"
    assert any("Traceback" in line for line in queue.tail(ends[1])), "the log has the traceback"


def test_a_job_that_cannot_write_has_a_reason_with_the_next_step(queue: Queue, worker: Callable[[], Process]) -> None:
    name = queue.submit("lose the disk", "a", {}).id
    worker()
    assert over(queue, name).status == ERROR and "make room on the disk" in queue.jobs.get(name).reason


def test_a_running_job_is_stopped_on_request(queue: Queue, worker: Callable[[], Process]) -> None:
    name, next_one = (
        queue.submit("count", "a", {"to": 10_000, "pause": 0.01}).id,
        queue.submit("count", "a", {"to": 1}).id,
    )
    worker()
    wait_for(lambda: len(counted(queue, name)) > 5)
    queue.stop(name)
    assert over(queue, next_one).status == DONE
    job, numbers = queue.jobs.get(name), counted(queue, name)
    assert job.status == STOPPED and 5 < len(numbers) < 10_000


def test_a_killed_job_continues_from_its_progress(queue: Queue, worker: Callable[[], Process]) -> None:
    name = queue.submit("count", "a", {"to": 60, "pause": 0.02}).id
    worker()
    wait_for(lambda: len(counted(queue, name)) > 10)
    os.kill(process_of(queue, name), signal.SIGKILL)
    job = over(queue, name)
    assert job.status == DONE and job.result["from"] >= 10 and job.crashes == 1
    assert set(counted(queue, name)) == {str(number) for number in range(60)}


def test_the_job_of_a_killed_worker_ends_and_the_next_worker_continues_it(
    queue: Queue, worker: Callable[[], Process]
) -> None:
    name = queue.submit("count", "a", {"to": 100, "pause": 0.02}).id
    first = worker()
    wait_for(lambda: len(counted(queue, name)) > 10)
    child = process_of(queue, name)
    first.kill()
    first.wait()
    wait_for(lambda: not alive(child))
    assert queue.jobs.get(name).status == RUNNING, "no process was left to change the status"
    worker()
    job = over(queue, name)
    assert job.status == DONE and job.result["from"] >= 10 and job.crashes == 0


def test_a_terminated_worker_leaves_its_job_to_the_next_worker(queue: Queue, worker: Callable[[], Process]) -> None:
    name = queue.submit("count", "a", {"to": 100, "pause": 0.02}).id
    first = worker()
    wait_for(lambda: len(counted(queue, name)) > 5)
    first.send_signal(signal.SIGTERM)
    first.wait(20)
    assert queue.jobs.get(name).status == SUBMITTED and process_of(queue, name) == 0
    worker()
    assert over(queue, name).result["from"] >= 5


def test_a_second_worker_waits_for_the_first(queue: Queue, worker: Callable[[], Process]) -> None:
    first = worker()
    done = queue.submit("count", "a", {"to": 1}).id
    over(queue, done)
    second = worker()
    wait_for(lambda: "another worker" in (queue.app_dir / "worker.txt").read_text() or second.poll() is not None)
    first.kill()
    first.wait()
    assert over(queue, queue.submit("count", "a", {"to": 1}).id).status == DONE, "the second worker takes over"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_that_always_crashes_is_given_up(
    queue: Queue, worker: Callable[[], Process], number: signal.Signals
) -> None:
    name = queue.submit("die", "a", {"signal": int(number)}).id
    worker()
    job = over(queue, name)
    assert job.status == ERROR and job.crashes == MAX_CRASHES and number.name in job.reason
