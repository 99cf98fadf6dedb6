"""The table of jobs: only one of several callers makes a change of state."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, SUBMITTED
from lib.jobs.queue.table import MAX_CRASHES, Jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_reading_creates_no_file(jobs: Jobs) -> None:
    assert jobs.list() == [] and not jobs.file.exists()


def test_a_submitted_job_is_read_back(jobs: Jobs, tmp_path: Path) -> None:
    job, new = jobs.add("train", "tubes", {"max_epochs": 3}, origin="Anna", mark=7)
    assert new and Jobs(tmp_path).get(job.id) == job
    assert (job.kind, job.subject, job.request, job.origin, job.mark) == (
        "train",
        "tubes",
        {"max_epochs": 3},
        "Anna",
        7,
    )
    assert job.status == SUBMITTED and job.started is None and job.fraction == 0.0
    assert jobs.get(job.id[:6]).id == job.id


@pytest.mark.parametrize("name", ["", "unknown", "%"])
def test_an_unknown_id_is_refused(jobs: Jobs, name: str) -> None:
    jobs.add("train", "tubes", {})
    with pytest.raises(ValueError, match="no job"):
        jobs.get(name)


def test_a_request_that_is_not_json_is_refused(jobs: Jobs) -> None:
    with pytest.raises(TypeError, match="JSON"):
        jobs.add("train", "tubes", {"device": object()})
    assert jobs.list() == []


def test_jobs_are_listed_in_order_and_filtered(jobs: Jobs) -> None:
    ids = [jobs.add(kind, "tubes", {})[0].id for kind in ("train", "scoring", "train")]
    assert [job.id for job in jobs.list()] == ids and [job.number for job in jobs.list()] == [1, 2, 3]
    assert [job.id for job in jobs.list("train", after=1)] == ids[2:]
    assert jobs.stop(ids[0]) and [job.id for job in jobs.list("train", unfinished=True)] == ids[2:]


def test_once_adds_one_job_even_for_many_threads(jobs: Jobs, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: Jobs(tmp_path).add("train", "tubes", {}, once=True), range(40)))
    assert sum(new for _, new in added) == 1 and len({job.id for job, _ in added}) == len(jobs.list()) == 1
    jobs.stop(added[0][0].id)
    assert jobs.add("train", "tubes", {}, once=True)[1], "a job that has ended does not count"


def test_only_one_of_many_threads_claims_a_job(jobs: Jobs, tmp_path: Path) -> None:
    job, _ = jobs.add("train", "tubes", {})
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: Jobs(tmp_path).claim(job.id), range(16))) == 1
    assert jobs.get(job.id).status == RUNNING and jobs.get(job.id).started


def test_the_state_of_an_ended_job_never_changes(jobs: Jobs) -> None:
    job, _ = jobs.add("train", "tubes", {})
    assert not jobs.finish(job.id, DONE), "a waiting job cannot be finished"
    jobs.claim(job.id)
    jobs.save_progress(job.id, {"fraction": 0.5})
    assert jobs.finish(job.id, DONE, result={"score": 1})
    assert not jobs.finish(job.id, ERROR) and not jobs.stop(job.id) and not jobs.claim(job.id)
    jobs.save_progress(job.id, {"fraction": 0.7})
    ended = jobs.get(job.id)
    assert (ended.status, ended.result, ended.fraction) == (DONE, {"score": 1}, 0.5) and ended.ended


def test_a_stopped_job_stays_stopped(jobs: Jobs) -> None:
    job, _ = jobs.add("train", "tubes", {})
    jobs.claim(job.id)
    assert jobs.stop(job.id) and not jobs.finish(job.id, DONE)
    assert jobs.requeue(job.id, crashed=True, reason="killed") == STOPPED == jobs.get(job.id).status


def test_an_interrupted_job_waits_again_with_its_progress(jobs: Jobs) -> None:
    job, _ = jobs.add("train", "tubes", {})
    for _ in range(3 * MAX_CRASHES):
        jobs.claim(job.id)
        jobs.save_progress(job.id, {"fraction": 0.25})
        assert jobs.requeue(job.id, crashed=False, reason="interrupted") == SUBMITTED
    again = jobs.get(job.id)
    assert again.fraction == 0.25 and again.crashes == 0 and again.started is None and again.reason == "interrupted"


def test_a_job_is_given_up_after_crashes_without_progress(jobs: Jobs) -> None:
    hopeless, slow = (jobs.add("train", name, {})[0].id for name in ("hopeless", "slow"))
    for number in range(1, MAX_CRASHES + 1):
        for name in (hopeless, slow):
            jobs.claim(name)
        jobs.save_progress(slow, {"fraction": number / 10})
        status = [jobs.requeue(name, crashed=True, reason="it was killed") for name in (hopeless, slow)]
        assert status == [ERROR if number == MAX_CRASHES else SUBMITTED, SUBMITTED]
    assert "without progress" in jobs.get(hopeless).reason


def test_last_lists_only_the_newest_jobs(jobs: Jobs) -> None:
    for _ in range(4):
        jobs.add("train", "tubes", {})
    assert [job.number for job in jobs.list(last=2)] == [3, 4] and len(jobs.list(last=9)) == 4
