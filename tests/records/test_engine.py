"""The ledger's database: durable settings, whole from the first moment, its errors in words."""

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from lib.records import engine
from lib.records.engine import ROWS, TRIGGERS, LedgerUnavailable, begin, connect, translated


def test_a_committed_row_outlives_a_power_cut(tmp_path: Path) -> None:
    with begin(connect(f"sqlite:///{tmp_path / 'x.db'}")) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_two_founders_leave_one_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second founder keeps what the first one made, and its rows."""
    url, real = f"sqlite:///{tmp_path / 'x.db'}", engine._place

    def overtaken(partial: Path, path: Path) -> None:
        monkeypatch.setattr(engine, "_place", real)
        values = dict.fromkeys(ROWS.c.keys(), "x") | {"seq": 1}
        with begin(connect(url), writes=True) as connection:
            connection.execute(sa.insert(ROWS).values(**values))
        real(partial, path)

    monkeypatch.setattr(engine, "_place", overtaken)
    with begin(connect(url)) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar() == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db-shm"] == ["x.db"]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    first = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with (
        begin(first, writes=True),
        closing(sqlite3.connect(tmp_path / "x.db", timeout=0.05)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (sqlite3.SQLITE_FULL, errno.ENOSPC),
        (sqlite3.SQLITE_IOERR_SHMSIZE, errno.ENOSPC),
        (sqlite3.SQLITE_READONLY_DIRECTORY, errno.EROFS),
        (sqlite3.SQLITE_IOERR_READ, errno.EIO),
    ],
)
def test_errors_of_the_disk_keep_their_number(code: int, number: int) -> None:
    fault = sqlite3.OperationalError("no room")
    fault.sqlite_errorcode = code
    with pytest.raises(LedgerUnavailable, match="cannot be written: no room") as caught, translated("written"):
        raise sa.exc.OperationalError("INSERT", {}, fault)
    assert caught.value.errno == number


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("a text, and not a short one either: longer than a header" * 20)
    broken = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(LedgerUnavailable, match="not a database"), translated("read"), begin(broken):
        pass


@pytest.mark.parametrize("url", ["postgres://x@/y", "nonsense", "mysql://a@b/c"])
def test_an_address_of_no_ledger_is_told(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="use postgresql://"):
        connect(url)


def test_postgresql_can_say_the_same() -> None:
    text = str(CreateTable(ROWS).compile(dialect=postgresql.dialect()))
    assert "seq INTEGER NOT NULL" in text and "SERIAL" not in text
    assert "UPDATE OR DELETE OR TRUNCATE" in TRIGGERS["postgresql"][1]
