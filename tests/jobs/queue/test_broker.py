"""The queue: submission, order, stop and recovery of jobs."""

from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import RUNNING, STOPPED, SUBMITTED


def test_jobs_wait_in_order_of_submission(queue: Queue) -> None:
    jobs = [queue.submit("count", name, {"to": 1}) for name in "abc"]
    assert queue.waiting() == [job.id for job in jobs]
    assert [queue.position(job) for job in jobs] == [1, 2, 3]
    queue.stop(jobs[0].id)
    assert [queue.position(queue.jobs.get(job.id)) for job in jobs] == [None, 1, 2], "a stopped job is not counted"


def test_reading_an_empty_queue_creates_no_file(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.waiting() == [] and queue.jobs.list() == [] and list(tmp_path.iterdir()) == []


def test_a_job_that_has_ended_cannot_be_stopped(queue: Queue) -> None:
    job = queue.submit("count", "a", {"to": 1})
    assert queue.stop(job.id[:8]).status == STOPPED
    with pytest.raises(ValueError, match="has ended already: STOPPED"):
        queue.stop(job.id)


def test_a_job_of_a_killed_submitter_is_enqueued(queue: Queue) -> None:
    job, _ = queue.jobs.add("count", "a", {"to": 1})
    assert queue.waiting() == [] and queue.recover() == [job.id] and queue.waiting() == [job.id]
    assert queue.recover() == [], "the job is enqueued once"


def test_a_job_of_a_killed_worker_comes_first(queue: Queue) -> None:
    first, second = (queue.submit("count", name, {"to": 1}) for name in "ab")
    assert queue.huey.dequeue().args[0] == first.id
    queue.jobs.claim(first.id)
    assert queue.recover(frozenset([first.id])) == [], "this worker is doing the job"
    assert queue.recover() == [first.id]
    assert queue.jobs.get(first.id).status == SUBMITTED and queue.waiting() == [first.id, second.id]


def test_the_tail_of_a_log_is_shown(queue: Queue) -> None:
    job = queue.submit("count", "a", {"to": 1})
    assert queue.tail(job) == []
    queue.log(job).parent.mkdir(parents=True)
    queue.log(job).write_text("\n".join(map(str, range(100))) + "\n")
    assert queue.tail(job, 3) == ["97", "98", "99"]
    queue.jobs.claim(job.id)
    shown = queue.show(queue.jobs.get(job.id))
    assert shown["status"] == RUNNING and shown["position"] is None and shown["log"][-1] == "99"
