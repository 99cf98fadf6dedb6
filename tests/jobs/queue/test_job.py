"""A job as JSON for viewers."""

import json

import pytest

from lib.jobs.queue.job import DONE, RUNNING, STOPPED, Job, format_timestamp


def test_a_job_as_json_leaves_out_entries_of_its_kind() -> None:
    progress = {"fraction": 0.5, "text": "half", "eta_seconds": None, "done": ["a", "b"]}
    job = Job(1, "abc", "train", "tubes", {}, "Anna", RUNNING, 1e9, 1e9 + 1, None, progress)
    stored = json.loads(json.dumps(job.as_dict()))
    assert stored["progress"] == {"fraction": 0.5, "text": "half"} and stored["ended"] is None
    assert stored["submitted"] == format_timestamp(1e9) and len(stored["started"]) == len("2001-09-09 01:46:40")


@pytest.mark.parametrize(("status", "expected"), [(DONE, {"fraction": 1.0}), (STOPPED, {"fraction": 0.99})])
def test_a_job_that_has_ended_has_no_remaining_time(status: str, expected: dict) -> None:
    """The last report of a job comes a moment before its end."""
    progress = {"fraction": 0.99, "eta_seconds": 0.4}
    job = Job(1, "abc", "train", "tubes", {}, "", status, 1e9, 1e9 + 1, 1e9 + 2, progress)
    assert job.as_dict()["progress"] == expected
