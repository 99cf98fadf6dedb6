"""The ledger: one intact chain even with several or killed writers, and a report of every change of a row."""

import itertools
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lib.records.database import LedgerUnavailable
from lib.records.ledger import FILE, GENESIS, LAST_ROW_FILE, Ledger, canonical_json, hash_row


def filled(ledger: Ledger, count: int = 5) -> Ledger:
    for number in range(count):
        ledger.append("label", f"ct_{number}", {"number": number, "who": "Ärztin"})
    return ledger


def tamper(ledger: Ledger, statement: str, *values: object) -> None:
    """Change the database file directly, after dropping its triggers."""
    with closing(sqlite3.connect(ledger.folder / FILE)) as connection:
        for name in ("update", "delete", "replace"):
            connection.execute(f"DROP TRIGGER ledger_no_{name}")
        connection.execute(statement, values)
        connection.commit()


def test_rows_are_returned_in_order_and_are_chained(ledger: Ledger) -> None:
    assert ledger.rows() == [] and ledger.verify() == []
    rows = filled(ledger).rows()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5] and rows[2].body == {"number": 2, "who": "Ärztin"}
    assert [row.previous for row in rows] == [GENESIS, *[row.hash for row in rows[:-1]]]
    assert [row.seq for row in ledger.rows("label", "ct_3")] == [4] and ledger.rows("job") == []
    assert Ledger(ledger.folder).rows() == rows and ledger.verify() == []


def test_the_hash_covers_every_field() -> None:
    fields = {"seq": 1, "at": "t", "kind": "label", "subject": "s", "body": "{}", "previous": GENESIS}
    others = {"seq": 2, "at": "u", "kind": "job", "subject": "r", "body": "[]", "previous": "1" * 64}
    hashes = {hash_row(**(fields | {key: value})) for key, value in others.items()}
    assert len(hashes | {hash_row(**fields)}) == 7


@pytest.mark.parametrize(("kind", "body"), [("unknown", {}), ("job", {"x": float("nan")}), ("job", {"x": Path("x")})])
def test_an_invalid_row_is_refused_and_adds_nothing(ledger: Ledger, kind: str, body: dict) -> None:
    with pytest.raises(ValueError, match=r"kind of a row is one of|JSON"):
        ledger.append(kind, "x", body)
    assert ledger.rows() == []


def test_rows_of_a_failed_block_are_discarded(ledger: Ledger) -> None:
    filled(ledger, 1)
    with pytest.raises(RuntimeError), ledger.writing() as writer:
        writer.append("job", "x", {})
        assert len(writer.rows()) == 2
        raise RuntimeError
    assert len(ledger.rows()) == 1 and ledger.verify() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET subject = 'x' WHERE seq = 2",
        "DELETE FROM ledger WHERE seq = 2",
        "INSERT OR REPLACE INTO ledger SELECT seq, at, kind, 'x', body, previous, hash FROM ledger WHERE seq = 2",
        "INSERT OR REPLACE INTO ledger SELECT 99, at, kind, 'x', body, previous, hash FROM ledger WHERE seq = 2",
    ],
)
def test_the_database_refuses_changes_of_rows(ledger: Ledger, statement: str) -> None:
    before = filled(ledger).rows()
    with (
        closing(sqlite3.connect(ledger.folder / FILE)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    assert ledger.rows() == before


@pytest.mark.parametrize("column", ["at", "kind", "subject", "body", "previous", "hash"])
def test_a_changed_field_is_reported_with_its_row(ledger: Ledger, column: str) -> None:
    filled(ledger)
    tamper(ledger, f"UPDATE ledger SET {column} = replace({column}, substr({column}, 3, 1), '#') WHERE seq = 3")
    faults = ledger.verify()
    assert any("row 3 (" in fault for fault in faults), faults
    assert not any("row 2 (" in fault or "row 5 (" in fault for fault in faults)


def test_a_deleted_row_is_reported(ledger: Ledger) -> None:
    filled(ledger)
    tamper(ledger, "DELETE FROM ledger WHERE seq = 2")
    assert any("row 3 (label ct_2) stands in the place of row 2" in fault for fault in ledger.verify())


def test_a_changed_row_with_a_recomputed_hash_is_reported(ledger: Ledger) -> None:
    """A row that is rewritten with a new hash breaks the chain at the next row."""
    rows = filled(ledger).rows()
    body = canonical_json({"number": 1, "who": "another person"})
    forged = hash_row(seq=2, at=rows[1].at, kind="label", subject="ct_1", body=body, previous=rows[0].hash)
    tamper(ledger, "UPDATE ledger SET body = ?, hash = ? WHERE seq = 2", body, forged)
    assert ledger.verify() == ["row 3 (label ct_2) does not contain the hash of the previous row"]


def test_a_cut_off_end_and_a_missing_ledger_are_reported(ledger: Ledger) -> None:
    filled(ledger)
    tamper(ledger, "DELETE FROM ledger WHERE seq > 3")
    assert any("row 5" in fault and "cut off" in fault for fault in ledger.verify())
    (ledger.folder / FILE).unlink()
    assert ledger.verify() == [f"the ledger is missing, though {LAST_ROW_FILE} names its last row"]


def test_one_flipped_byte_is_reported_or_changes_no_row(ledger: Ledger, tmp_path: Path) -> None:
    before = filled(ledger, 30).rows()
    intact = (ledger.folder / FILE).read_bytes()
    row = intact.find(b"ct_17")
    places = [row, row + 3, row + 40, intact.find(before[20].hash.encode()), 1, 20, 60]
    places += random.Random(0).sample(range(len(intact)), 60)
    reported_count = 0
    for place in places:
        copy = Ledger(tmp_path / f"copy{place}")
        copy.folder.mkdir()
        (copy.folder / LAST_ROW_FILE).write_bytes((ledger.folder / LAST_ROW_FILE).read_bytes())
        (copy.folder / FILE).write_bytes(intact[:place] + bytes([intact[place] ^ 1]) + intact[place + 1 :])
        if faults := copy.verify():
            reported_count += 1
            assert place != row or any("row 18" in fault for fault in faults), faults
        else:
            # The byte lies in the unused part of a page, so no row changes.
            assert copy.rows() == before, place
    assert reported_count >= 20


def test_reading_a_damaged_row_raises_an_error(ledger: Ledger) -> None:
    filled(ledger)
    tamper(ledger, "UPDATE ledger SET body = 'x' WHERE seq = 3")
    with pytest.raises(LedgerUnavailable, match=r"row 3 .* ledger verify"):
        ledger.rows()


def test_a_damaged_last_row_file_is_reported(ledger: Ledger) -> None:
    filled(ledger)
    (ledger.folder / LAST_ROW_FILE).write_text('{"seq": 5')
    assert ledger.verify() == [f"{LAST_ROW_FILE} cannot be read"]


def reported(ledger: Ledger) -> dict[int, str]:
    lines = (ledger.folder / "reports").read_text().splitlines()
    return {int(seq): digest for seq, digest in map(str.split, lines)}


def test_processes_that_write_at_once_write_one_chain(ledger: Ledger, run_writers: Callable[..., None]) -> None:
    run_writers("race", ledger.folder, 4, 40)
    rows = ledger.rows()
    assert len(rows) == 160 and ledger.verify() == []
    assert {row.seq: row.hash for row in rows} == reported(ledger)
    order = [row.subject for row in rows]
    assert sum(one != other for one, other in itertools.pairwise(order)) > 3, "the writers wrote at the same time"
    for index in range(4):
        assert [row.body["number"] for row in ledger.rows("job", f"writer {index}")] == list(range(40))


def test_killed_writers_leave_an_intact_chain_with_all_reported_rows(
    ledger: Ledger, run_writers: Callable[..., None]
) -> None:
    run_writers("kill", ledger.folder, 25, 5)
    rows, known = {row.seq: row.hash for row in ledger.rows()}, reported(ledger)
    assert len(known) >= 25 and known.items() <= rows.items()


def test_the_last_row_file_names_the_last_row(ledger: Ledger) -> None:
    last = filled(ledger).rows()[-1]
    assert json.loads((ledger.folder / LAST_ROW_FILE).read_text()) == {"seq": 5, "hash": last.hash}
