"""The queue in words: what runs and until when, what waits, what ended."""

import time
from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE
from lib.server.admin.state.queue import ENDED_SHOWN, board


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def test_nothing_is_made_by_looking(queue: Queue, tmp_path: Path) -> None:
    empty = board(queue)
    assert not (*empty.running, *empty.waiting, *empty.ended) and not list(tmp_path.iterdir())
    assert empty.announcement == "nothing runs; 0 waiting"


def test_a_job_at_work_tells_its_end(queue: Queue) -> None:
    job = queue.submit("train", "tubes", {})
    queue.jobs.claim(job.id)
    queue.jobs.tell(job.id, {"fraction": 0.999, "eta_seconds": 60})
    (entry,) = board(queue).running
    assert entry.percent == 99 and entry.state == "running" and entry.seconds is not None
    assert entry.ends == pytest.approx(time.time() + 60, abs=5)
    assert board(queue).announcement == "train tubes 75 percent done; 0 waiting"


@pytest.mark.parametrize("told", [{}, {"eta_seconds": None}, {"eta_seconds": float("inf")}, {"fraction": 7}])
def test_what_a_job_does_not_know_it_does_not_say(queue: Queue, told: dict) -> None:
    job = queue.submit("train", "tubes", {})
    queue.jobs.claim(job.id)
    queue.jobs.tell(job.id, told)
    (entry,) = board(queue).running
    assert entry.ends is None and 0 <= entry.percent <= 100


def test_those_that_wait_stand_in_their_order(queue: Queue) -> None:
    names = [queue.submit("train", f"t{n}", {}).id for n in range(3)]
    assert [(each.job.id, each.position) for each in board(queue).waiting] == list(zip(names, (1, 2, 3), strict=True))


def test_the_newest_that_ended_come_first_and_no_more_than_fit(queue: Queue) -> None:
    for number in range(ENDED_SHOWN + 3):
        job = queue.submit("train", f"t{number}", {})
        queue.jobs.claim(job.id)
        queue.jobs.finish(job.id, DONE)
    queue.submit("train", "last", {})
    ended = board(queue).ended
    assert [each.job.subject for each in ended] == [f"t{n}" for n in range(ENDED_SHOWN + 2, 2, -1)]
    assert ended[0].state == "done"


def test_a_signature_changes_when_a_job_begins_and_not_when_it_gets_on(queue: Queue) -> None:
    job = queue.submit("train", "tubes", {})
    waits = board(queue).signature
    queue.jobs.claim(job.id)
    runs = board(queue).signature
    queue.jobs.tell(job.id, {"fraction": 0.5})
    assert waits != runs == board(queue).signature
