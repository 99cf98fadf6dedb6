"""Database of the ledger: durable settings, a complete schema from the start, and readable errors."""

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from lib.records import database as engine
from lib.records.database import ROWS, TRIGGERS, LedgerUnavailable, connect, transaction, translate_errors


def test_sqlite_uses_a_write_ahead_log_and_full_synchronisation(tmp_path: Path) -> None:
    with transaction(connect(f"sqlite:///{tmp_path / 'x.db'}")) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_two_processes_that_create_the_ledger_at_once_leave_one_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process keeps the file and the rows of the first one."""
    url, real = f"sqlite:///{tmp_path / 'x.db'}", engine._link_into_place

    def place_second(partial: Path, path: Path) -> None:
        monkeypatch.setattr(engine, "_link_into_place", real)
        values = dict.fromkeys(ROWS.c.keys(), "x") | {"seq": 1}
        with transaction(connect(url), writes=True) as connection:
            connection.execute(sa.insert(ROWS).values(**values))
        real(partial, path)

    monkeypatch.setattr(engine, "_link_into_place", place_second)
    with transaction(connect(url)) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar() == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db-shm"] == ["x.db"]


def test_a_file_of_tables_appears_complete_and_with_its_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that switch one empty file to a write-ahead log at once would fail with "database is locked"."""
    path, real = tmp_path / "x.db", engine._link_into_place

    def check_and_place(partial: Path, path: Path) -> None:
        assert not path.exists()
        with closing(sqlite3.connect(f"file:{partial}?mode=ro", uri=True)) as found:
            assert found.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert found.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("ledger",)]
        real(partial, path)
        placed.append(path)

    placed: list[Path] = []
    monkeypatch.setattr(engine, "_link_into_place", check_and_place)
    tables = engine.Tables(path, engine.SCHEMA, "the tables")
    with tables.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar() == 0
    assert placed == [path]


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    first = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with (
        transaction(first, writes=True),
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
def test_errors_of_the_disk_keep_their_errno(code: int, number: int) -> None:
    fault = sqlite3.OperationalError("no room")
    fault.sqlite_errorcode = code
    with pytest.raises(LedgerUnavailable, match="cannot be written: no room") as caught, translate_errors("written"):
        raise sa.exc.OperationalError("INSERT", {}, fault)
    assert caught.value.errno == number


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("a text, and not a short one either: longer than a header" * 20)
    broken = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(LedgerUnavailable, match="not a database"), translate_errors("read"), transaction(broken):
        pass


@pytest.mark.parametrize("url", ["postgres://x@/y", "nonsense", "mysql://a@b/c"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="use postgresql://"):
        connect(url)


def test_postgresql_gets_the_same_table_and_triggers() -> None:
    text = str(CreateTable(ROWS).compile(dialect=postgresql.dialect()))
    assert "seq INTEGER NOT NULL" in text and "SERIAL" not in text
    assert "UPDATE OR DELETE OR TRUNCATE" in TRIGGERS["postgresql"][1]
