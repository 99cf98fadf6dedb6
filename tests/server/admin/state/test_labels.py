"""Saved labels, newest first, with findings in any format that a client sent."""

from pathlib import Path
from typing import Any

import pytest

from lib.records.ledger import FILE, Ledger
from lib.server.admin.state import labels
from lib.server.admin.state.labels import LabelFinding, find, saved, spots, window
from lib.tasks.store.folder import FolderStore


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    for number, source in enumerate(["found", "predicted", "submitted", "submitted", "removed"]):
        body = {"tag": "final", "source": source, "label": f"{number}" * 64, "findings": ["odd"] * (number == 2)}
        ledger.append("label", f"ct_{number % 4}", body)
    return ledger


def test_labels_are_newest_first_without_predictions(ledger: Ledger) -> None:
    rows = window(ledger)
    assert [each.row.seq for each in saved(rows, count=9)] == [5, 4, 3, 1]
    assert [each.row.seq for each in saved(rows, count=2)] == [5, 4]
    assert [each.row.seq for each in saved(rows, before=4, count=9)] == [3, 1]
    assert [each.row.seq for each in saved(rows, count=9, with_findings=True)] == [3]
    assert saved(rows, count=1)[0].removed


def test_only_the_end_of_a_long_ledger_is_read_and_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "WINDOW_ROWS", 10)
    ledger, read = Ledger(tmp_path), []
    real = ledger.rows
    monkeypatch.setattr(ledger, "rows", lambda kind, after: read.append(after) or real(kind, after=after))
    for number in range(25):
        ledger.append("label" if number % 5 else "job", f"study {number}", {"tag": "final", "source": "submitted"})
    expected = [f"study {number}" for number in range(15, 25) if number % 5]
    assert [row.subject for row in window(ledger)] == expected
    ledger.append("label", "study 25", {"tag": "final", "source": "submitted"})
    assert [row.subject for row in window(ledger)] == [*expected, "study 25"] and read == [15, 25]


def test_a_replaced_ledger_is_read_from_the_start(ledger: Ledger, tmp_path: Path) -> None:
    assert len(window(ledger)) == 5
    (tmp_path / FILE).unlink()
    ledger._engine = None
    assert window(ledger) == []
    ledger.append("label", "ct_9", {"tag": "final", "source": "submitted"})
    assert [row.subject for row in window(ledger)] == ["ct_9"]


def test_a_label_is_found_by_image_and_hash(ledger: Ledger) -> None:
    row = find(ledger, "ct_2", "2" * 64)
    assert row is not None and row.seq == 3
    assert find(ledger, "ct_1", "2" * 64) is None and find(ledger, "ct_2", "") is None


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        ("a stray part", LabelFinding("", "a stray part", "")),
        ({"code": "STRAY", "reason": "a part", "remedy": "Remove it."}, LabelFinding("STRAY", "a part", "Remove it.")),
        ({"code": "STRAY"}, LabelFinding("STRAY", "", "")),
        (
            {"code": "BREAK", "reason": "r", "remedy": "m", "ras_mm": [1.5, -2, 3.0], "voxel": [1, 2, 3]},
            LabelFinding("BREAK", "r", "m", (1.5, -2, 3.0), (1, 2, 3)),
        ),
        ({"code": "BREAK", "ras_mm": [1, 2], "voxel": ["<b>", 2, 3]}, LabelFinding("BREAK", "", "")),
        ({"code": "BREAK", "ras_mm": [1, 2, 1e300], "voxel": [True, 2, 3]}, LabelFinding("BREAK", "", "")),
        ({"voxels": 3}, LabelFinding("", "{'voxels': 3}", "")),
        (7, LabelFinding("", "7", "")),
    ],
)
def test_findings_of_any_type_are_read(tmp_path: Path, finding: Any, expected: LabelFinding) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("label", "ct_0", {"tag": "final", "source": "submitted", "findings": [finding] * 40})
    (found,) = saved(window(ledger), count=1)
    assert found.findings == [expected] * labels.FINDINGS_SHOWN


def test_spots_are_numbered_like_the_list_of_findings(tmp_path: Path) -> None:
    findings = ["a stray part", {"code": "BREAK", "ras_mm": [1, 2, 3]}, {"code": "L" * 99, "ras_mm": [4, 5, 6.5]}]
    row = Ledger(tmp_path).append("label", "ct_0", {"tag": "final", "findings": findings})
    assert spots(row) == [
        {"ras_mm": [1, 2, 3], "text": "2 BREAK"},
        {"ras_mm": [4, 5, 6.5], "text": f"3 {'L' * 20}"},
    ]


def test_a_store_without_checks_has_no_refused_labels(tmp_path: Path) -> None:
    assert labels.not_used(FolderStore(str(tmp_path))) == ((), 0)
