"""Rows of the ledger for the beginning and the end of a job."""

from pathlib import Path

import pytest

from lib.jobs.job_record import record_job
from lib.jobs.queue.run import Stopped
from lib.records.ledger import Ledger


def states(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row.body["state"], row.body.get("reason", "")) for row in ledger.rows("job", "tubes")]


def test_a_finished_job_is_recorded_with_its_facts(tmp_path: Path) -> None:
    ledger = Ledger.of(tmp_path)
    with record_job(ledger, "tubes", "run", resumed=True) as facts:
        facts["version"] = "v1"
    assert states(ledger) == [("resumed", ""), ("done", "")]
    assert ledger.rows("job")[-1].body["version"] == "v1" and ledger.rows("job")[-1].body["kind"] == "train"


@pytest.mark.parametrize(("error", "state"), [(ValueError("no labels"), "failed"), (Stopped(), "stopped")])
def test_a_failed_or_stopped_job_is_recorded_with_its_reason(tmp_path: Path, error: BaseException, state: str) -> None:
    ledger = Ledger.of(tmp_path)
    with pytest.raises(type(error)), record_job(ledger, "tubes", "run"):
        raise error
    assert states(ledger) == [("started", ""), (state, f"{type(error).__name__}: {error}")]
