"""The ledger: one chain whoever writes and is killed, and every change to it named."""

import itertools
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lib.records.engine import LedgerUnavailable
from lib.records.ledger import FILE, GENESIS, WITNESS, Ledger, canonical, hash_row


def filled(ledger: Ledger, count: int = 5) -> Ledger:
    for number in range(count):
        ledger.append("label", f"ct_{number}", {"number": number, "who": "Ärztin"})
    return ledger


def meddle(ledger: Ledger, statement: str, *values: object) -> None:
    """Change the file behind the ledger's back, its triggers taken off."""
    with closing(sqlite3.connect(ledger.folder / FILE)) as connection:
        for name in ("update", "delete", "replace"):
            connection.execute(f"DROP TRIGGER ledger_no_{name}")
        connection.execute(statement, values)
        connection.commit()


def test_rows_come_back_in_order_and_are_chained(ledger: Ledger) -> None:
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


@pytest.mark.parametrize(("kind", "body"), [("gossip", {}), ("job", {"x": float("nan")}), ("job", {"x": Path("x")})])
def test_what_is_no_row_is_refused_and_leaves_nothing(ledger: Ledger, kind: str, body: dict) -> None:
    with pytest.raises(ValueError, match=r"a row is one of|JSON"):
        ledger.append(kind, "x", body)
    assert ledger.rows() == []


def test_rows_of_a_block_that_fails_are_absent(ledger: Ledger) -> None:
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
def test_the_database_refuses_changes(ledger: Ledger, statement: str) -> None:
    before = filled(ledger).rows()
    with (
        closing(sqlite3.connect(ledger.folder / FILE)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    assert ledger.rows() == before


@pytest.mark.parametrize("column", ["at", "kind", "subject", "body", "previous", "hash"])
def test_a_changed_field_is_named(ledger: Ledger, column: str) -> None:
    filled(ledger)
    meddle(ledger, f"UPDATE ledger SET {column} = replace({column}, substr({column}, 3, 1), '#') WHERE seq = 3")
    faults = ledger.verify()
    assert any("row 3 (" in fault for fault in faults), faults
    assert not any("row 2 (" in fault or "row 5 (" in fault for fault in faults)


def test_a_row_taken_out_put_in_or_swapped_is_named(ledger: Ledger) -> None:
    filled(ledger)
    meddle(ledger, "DELETE FROM ledger WHERE seq = 2")
    assert any("row 3 (label ct_2) stands where row 2 should" in fault for fault in ledger.verify())


def test_a_forged_tail_does_not_pass(ledger: Ledger) -> None:
    """Whoever rewrites a row and recomputes its hash still breaks the next row."""
    rows = filled(ledger).rows()
    body = canonical({"number": 1, "who": "somebody else"})
    forged = hash_row(seq=2, at=rows[1].at, kind="label", subject="ct_1", body=body, previous=rows[0].hash)
    meddle(ledger, "UPDATE ledger SET body = ?, hash = ? WHERE seq = 2", body, forged)
    assert ledger.verify() == ["row 3 (label ct_2) does not follow the row before it"]


def test_a_lost_end_and_a_lost_ledger_are_named(ledger: Ledger) -> None:
    filled(ledger)
    meddle(ledger, "DELETE FROM ledger WHERE seq > 3")
    assert any("row 5" in fault and "cut off" in fault for fault in ledger.verify())
    (ledger.folder / FILE).unlink()
    assert ledger.verify() == ["the ledger is missing, though its last row is known"]


def test_one_flipped_byte_is_named_or_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    before = filled(ledger, 30).rows()
    whole = (ledger.folder / FILE).read_bytes()
    row = whole.find(b"ct_17")
    places = [row, row + 3, row + 40, whole.find(before[20].hash.encode()), 1, 20, 60]
    places += random.Random(0).sample(range(len(whole)), 60)
    named = 0
    for place in places:
        copy = Ledger(tmp_path / f"copy{place}")
        copy.folder.mkdir()
        (copy.folder / WITNESS).write_bytes((ledger.folder / WITNESS).read_bytes())
        (copy.folder / FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if faults := copy.verify():
            named += 1
            assert place != row or any("row 18" in fault for fault in faults), faults
        else:
            # Between the rows of a page nothing is written, and nothing is lost.
            assert copy.rows() == before, place
    assert named >= 20


def test_a_damaged_row_is_told_to_readers(ledger: Ledger) -> None:
    filled(ledger)
    meddle(ledger, "UPDATE ledger SET body = 'x' WHERE seq = 3")
    with pytest.raises(LedgerUnavailable, match=r"row 3 .* ledger verify"):
        ledger.rows()


def test_a_spoilt_witness_is_named(ledger: Ledger) -> None:
    filled(ledger)
    (ledger.folder / WITNESS).write_text('{"seq": 5')
    assert ledger.verify() == [f"{WITNESS} cannot be read"]


def reported(ledger: Ledger) -> dict[int, str]:
    lines = (ledger.folder / "reports").read_text().splitlines()
    return {int(seq): digest for seq, digest in map(str.split, lines)}


def test_processes_that_write_at_once_make_one_chain(ledger: Ledger, run_writers: Callable[..., None]) -> None:
    run_writers("race", ledger.folder, 4, 40)
    rows = ledger.rows()
    assert len(rows) == 160 and ledger.verify() == []
    assert {row.seq: row.hash for row in rows} == reported(ledger)
    order = [row.subject for row in rows]
    assert sum(one != other for one, other in itertools.pairwise(order)) > 3, "the writers took turns"
    for index in range(4):
        assert [row.body["number"] for row in ledger.rows("job", f"writer {index}")] == list(range(40))


def test_killed_writers_leave_a_whole_chain_with_all_they_reported(
    ledger: Ledger, run_writers: Callable[..., None]
) -> None:
    run_writers("kill", ledger.folder, 25, 5)
    rows, known = {row.seq: row.hash for row in ledger.rows()}, reported(ledger)
    assert len(known) >= 25 and known.items() <= rows.items()


def test_the_witness_names_the_last_row(ledger: Ledger) -> None:
    last = filled(ledger).rows()[-1]
    assert json.loads((ledger.folder / WITNESS).read_text()) == {"seq": 5, "hash": last.hash}
