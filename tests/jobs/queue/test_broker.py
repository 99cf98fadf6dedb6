"""The queue as those who submit see it."""

from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import RUNNING, STOPPED, SUBMITTED


def test_order_and_positions(queue: Queue) -> None:
    jobs = [queue.submit("count", name, {"to": 1}) for name in "abc"]
    assert queue.waiting() == [job.id for job in jobs]
    assert [queue.position(job) for job in jobs] == [1, 2, 3]
    queue.stop(jobs[0].id)
    assert [queue.position(queue.jobs.get(job.id)) for job in jobs] == [None, 1, 2], "who waits no more is not counted"


def test_looking_makes_no_file(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.waiting() == [] and queue.jobs.list() == [] and list(tmp_path.iterdir()) == []


def test_stop_what_is_over(queue: Queue) -> None:
    job = queue.submit("count", "a", {"to": 1})
    assert queue.stop(job.id[:8]).status == STOPPED
    with pytest.raises(ValueError, match="over: STOPPED"):
        queue.stop(job.id)


def test_what_a_killed_submitter_left_is_handed_in(queue: Queue) -> None:
    job, _ = queue.jobs.add("count", "a", {"to": 1})
    assert queue.waiting() == [] and queue.recover() == [job.id] and queue.waiting() == [job.id]
    assert queue.recover() == [], "once"


def test_what_a_killed_worker_left_comes_first(queue: Queue) -> None:
    first, second = (queue.submit("count", name, {"to": 1}) for name in "ab")
    assert queue.huey.dequeue().args[0] == first.id
    queue.jobs.claim(first.id)
    assert queue.recover(frozenset([first.id])) == [], "it is being done"
    assert queue.recover() == [first.id]
    assert queue.jobs.get(first.id).status == SUBMITTED and queue.waiting() == [first.id, second.id]


def test_a_log_has_a_tail(queue: Queue) -> None:
    job = queue.submit("count", "a", {"to": 1})
    assert queue.tail(job) == []
    queue.log(job).parent.mkdir(parents=True)
    queue.log(job).write_text("\n".join(map(str, range(100))) + "\n")
    assert queue.tail(job, 3) == ["97", "98", "99"]
    queue.jobs.claim(job.id)
    told = queue.show(queue.jobs.get(job.id))
    assert told["status"] == RUNNING and told["position"] is None and told["log"][-1] == "99"
