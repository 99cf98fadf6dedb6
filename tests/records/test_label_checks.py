"""Results of label checks hold for the files that were checked, in every process of the app."""

from pathlib import Path

import pytest

from lib.data.findings import Finding
from lib.records.label_checks import LabelCheck, LabelChecks

WRONG = Finding("LABEL_VALUES", "It has the value 9.", "Use 1 and 2.")


def test_a_result_holds_for_the_same_facts_only(tmp_path: Path) -> None:
    checks = LabelChecks(tmp_path)
    assert checks.find("a", "10 bytes") is None and not checks.file.exists(), "reading creates no file"
    checks.put({"a": LabelCheck("10 bytes"), "b": LabelCheck("20 bytes", WRONG)})
    for known in (checks, LabelChecks(tmp_path)):
        assert known.find("a", "10 bytes") == LabelCheck("10 bytes") and known.find("a", "11 bytes") is None
        assert known.find("b", "20 bytes") == LabelCheck("20 bytes", WRONG) and known.find("c", "") is None


def test_a_new_result_replaces_the_earlier_one(tmp_path: Path) -> None:
    checks = LabelChecks(tmp_path)
    checks.put({"a": LabelCheck("1", WRONG)})
    checks.put({"a": LabelCheck("2")})
    checks.put({})
    assert LabelChecks(tmp_path).find("a", "1") is None and LabelChecks(tmp_path).find("a", "2") == LabelCheck("2")


def test_a_result_that_cannot_be_written_holds_until_the_process_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "records").write_text("a file in place of the folder")
    checks = LabelChecks(tmp_path)
    checks.put({"a": LabelCheck("1")})
    assert checks.find("a", "1") == LabelCheck("1") and "not kept" in caplog.text


def test_a_damaged_table_only_costs_new_checks(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "label_checks.db").write_bytes(b"garbage" * 1000)
    checks = LabelChecks(tmp_path)
    assert checks.find("a", "1") is None
    checks.put({"a": LabelCheck("1")})
    assert checks.find("a", "1") == LabelCheck("1")
