"""The jobs of the Queue page: running jobs with their expected end, waiting jobs and ended jobs."""

import time
from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE
from lib.server.admin.state.queue import ENDED_SHOWN, board


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def test_reading_the_queue_creates_no_files(queue: Queue, tmp_path: Path) -> None:
    empty = board(queue)
    assert not (*empty.running, *empty.waiting, *empty.ended) and not list(tmp_path.iterdir())
    assert empty.announcement == "no job is running; 0 waiting"


def test_a_running_job_has_an_expected_end(queue: Queue) -> None:
    job = queue.submit("train", "tubes", {})
    queue.jobs.claim(job.id)
    queue.jobs.save_progress(job.id, {"fraction": 0.999, "eta_seconds": 60})
    (entry,) = board(queue).running
    assert entry.percent == 99 and entry.state == "running" and entry.seconds is not None
    assert entry.ends == pytest.approx(time.time() + 60, abs=5)
    assert board(queue).announcement == "train tubes 75 percent done; 0 waiting"


@pytest.mark.parametrize("progress", [{}, {"eta_seconds": None}, {"eta_seconds": float("inf")}, {"fraction": 7}])
def test_unknown_progress_is_not_shown(queue: Queue, progress: dict) -> None:
    job = queue.submit("train", "tubes", {})
    queue.jobs.claim(job.id)
    queue.jobs.save_progress(job.id, progress)
    (entry,) = board(queue).running
    assert entry.ends is None and 0 <= entry.percent <= 100


def test_waiting_jobs_are_in_queue_order(queue: Queue) -> None:
    names = [queue.submit("train", f"t{n}", {}).id for n in range(3)]
    assert [(each.job.id, each.position) for each in board(queue).waiting] == list(zip(names, (1, 2, 3), strict=True))


def test_ended_jobs_are_newest_first_and_limited(queue: Queue) -> None:
    for number in range(ENDED_SHOWN + 3):
        job = queue.submit("train", f"t{number}", {})
        queue.jobs.claim(job.id)
        queue.jobs.finish(job.id, DONE)
    queue.submit("train", "last", {})
    ended = board(queue).ended
    assert [each.job.subject for each in ended] == [f"t{n}" for n in range(ENDED_SHOWN + 2, 2, -1)]
    assert ended[0].state == "done"


def test_the_signature_changes_when_a_job_starts_and_not_with_its_progress(queue: Queue) -> None:
    job = queue.submit("train", "tubes", {})
    waits = board(queue).signature
    queue.jobs.claim(job.id)
    runs = board(queue).signature
    queue.jobs.save_progress(job.id, {"fraction": 0.5})
    assert waits != runs == board(queue).signature
