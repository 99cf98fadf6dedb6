"""A job in the words of viewers."""

import json

import pytest

from lib.jobs.queue.job import DONE, RUNNING, STOPPED, Job, said


def test_as_json_without_what_is_the_kind_s_own() -> None:
    progress = {"fraction": 0.5, "text": "half", "eta_seconds": None, "done": ["a", "b"]}
    job = Job(1, "abc", "train", "tubes", {}, "Anna", RUNNING, 1e9, 1e9 + 1, None, progress)
    told = json.loads(json.dumps(job.as_dict()))
    assert told["progress"] == {"fraction": 0.5, "text": "half"} and told["ended"] is None
    assert told["submitted"] == said(1e9) and len(told["started"]) == len("2001-09-09 01:46:40")


@pytest.mark.parametrize(("status", "told"), [(DONE, {"fraction": 1.0}), (STOPPED, {"fraction": 0.99})])
def test_what_is_over_has_no_time_left(status: str, told: dict) -> None:
    """The last that a job tells is a moment before its end."""
    progress = {"fraction": 0.99, "eta_seconds": 0.4}
    job = Job(1, "abc", "train", "tubes", {}, "", status, 1e9, 1e9 + 1, 1e9 + 2, progress)
    assert job.as_dict()["progress"] == told
