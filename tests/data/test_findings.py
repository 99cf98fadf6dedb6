"""Findings are part of the exception, as text for a log and as data for a response."""

import json

from lib.data.findings import Finding, InputRejected, reject


def test_rejection_names_code_reason_and_remedy() -> None:
    error = InputRejected([Finding("A", "first.", "fix it."), Finding("B", "second.", "send it.")])
    assert isinstance(error, ValueError)
    assert str(error) == "A: first. fix it.; B: second. send it."
    data = json.loads(json.dumps(error.as_dict()))
    assert data["findings"][1] == {"code": "B", "reason": "second.", "remedy": "send it."}


def test_reject_builds_one_finding() -> None:
    assert reject("A", "r", "m").findings == (Finding("A", "r", "m"),)
