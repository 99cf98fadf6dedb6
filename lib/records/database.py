"""Database of the ledger: its table, triggers that refuse changes of rows, and a lock for one writer at a time.

SQLite runs with a write-ahead log and full synchronisation: readers never wait, and a committed row survives a power
cut. PostgreSQL gets the same table and triggers.
"""

import errno
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

BUSY_SECONDS = 60
LOCK_NUMBER = 7_061_646
"""Number of PostgreSQL's advisory lock for writers: arbitrary, but the same in all processes."""
SCHEMA = sa.MetaData()
ROWS = sa.Table(
    "ledger",
    SCHEMA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Index("ledger_by_subject", "kind", "subject"),
)
_REFUSAL = "the ledger is append-only"
TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER ledger_no_{verb.lower()} BEFORE {verb} ON ledger BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        for verb in ("UPDATE", "DELETE")
    ]
    # INSERT OR REPLACE deletes a row without firing the DELETE trigger.
    + [
        "CREATE TRIGGER ledger_no_replace BEFORE INSERT ON ledger "
        "WHEN EXISTS (SELECT 1 FROM ledger WHERE seq = NEW.seq OR hash = NEW.hash) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
        "CREATE OR REPLACE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
    ],
}
DATABASE_ERRORS = (DBAPIError, sqlite3.Error)
"""Errors of a database; SQLAlchemy does not wrap the error of a connection that cannot be made."""
_ERRNO_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_SHMSIZE: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EROFS,
}


class LedgerUnavailable(OSError):
    """Raised if the ledger cannot be read or written; the message gives the reason."""


def connect(url: str) -> sa.Engine:
    """Return an engine for the database of a ledger; create its table if absent.

    Args:
        url: SQLAlchemy URL of an SQLite or PostgreSQL database.
    Raises:
        LedgerUnavailable: If the URL names another kind of database.
    """
    if not url.startswith(("sqlite:", "postgresql:", "postgresql+")):
        kind = url.partition(":")[0]
        raise LedgerUnavailable(
            errno.EINVAL, f"the ledger cannot use a database of kind {kind!r}: use postgresql://USER@HOST/DATABASE"
        )
    if not url.startswith("sqlite:"):
        engine = sa.create_engine(url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
            _create_schema(connection, "postgresql")
        return engine
    path = Path(sa.make_url(url).database or "")
    with translate_errors("created"):
        _create_database(path, lambda connection: _create_schema(connection, "sqlite"))
    return open_sqlite(path)


@contextmanager
def transaction(engine: sa.Engine, *, writes: bool = False) -> Iterator[sa.Connection]:
    """Yield a connection in one transaction; with `writes`, no other transaction writes meanwhile."""
    with engine.connect() as connection, connection.execution_options(writes=writes).begin():
        if writes and engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
        yield connection


@contextmanager
def translate_errors(action: str, name: str = "the ledger") -> Iterator[None]:
    """Raise errors of the database as `LedgerUnavailable`, with the errno of a fault of the disk.

    Args:
        action: Action that fails, as a participle: "read", "written", "opened" or "created".
        name: Name of the database in the error message.
    Raises:
        LedgerUnavailable: If the block raises one of `DATABASE_ERRORS`.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        cause = driver_error(error)
        code = getattr(cause, "sqlite_errorcode", 0)
        # The low byte of SQLite's code is the family of the error; the full code is one member of it.
        number = _ERRNO_OF_SQLITE.get(code) or _ERRNO_OF_SQLITE.get(code & 0xFF, errno.EIO)
        raise LedgerUnavailable(number, f"{name} cannot be {action}: {cause}") from error


def driver_error(error: Exception) -> BaseException:
    """Return the error of the database driver, without the SQL statement that SQLAlchemy adds to it."""
    return getattr(error, "orig", None) or error


def find_damage(connection: sa.Connection) -> list[str]:
    """Return the faults that SQLite's integrity check finds in the file; empty for PostgreSQL."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return [f"the ledger's file is damaged: {' '.join(line.split())}" for line in found if line != "ok"]


def _create_database(path: Path, create_schema: Callable[[sa.Connection], None]) -> None:
    """Create a database in a temporary file and move it to `path` unless a file is there.

    No process sees half a schema. Nor do two switch one empty file to a write-ahead log at once, which fails with
    "database is locked": SQLite does not wait there.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{uuid.uuid4().hex[:6]}")
    try:
        with open_sqlite(partial).begin() as connection:
            create_schema(connection)
        _link_into_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _link_into_place(partial: Path, path: Path) -> None:
    """Give a complete temporary file its final name; keep a file that another process put there first."""
    try:
        # Unlike a rename, a link never replaces a file that another process created meanwhile.
        os.link(partial, path)
    except FileExistsError:
        return
    # Without this, the new name could be lost in a power failure.
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create_schema(connection: sa.Connection, dialect: str) -> None:
    SCHEMA.create_all(connection)
    for statement in TRIGGERS[dialect]:
        connection.exec_driver_sql(statement)


def open_tables(path: Path, schema: sa.MetaData) -> sa.Engine:
    """Return an engine for an SQLite file; create absent tables of the schema. Safe if several processes call it."""

    def create_absent(connection: sa.Connection) -> None:
        for table in schema.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))

    _create_database(path, create_absent)
    engine = open_sqlite(path)
    with transaction(engine, writes=True) as connection:
        create_absent(connection)  # tables that a file of an earlier version lacks
    return engine


class Tables:
    """Tables of a schema in one SQLite file, opened on first use; several processes may share the file.

    Args:
        file: Path of the SQLite file; created on first use.
        schema: Tables of the file.
        name: Name of the tables in error messages.
    """

    def __init__(self, file: Path, schema: sa.MetaData, name: str) -> None:
        self.file, self._schema, self._name = file, schema, name
        self._engine: sa.Engine | None = None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection for reading; all reads see the same state of the tables."""
        with translate_errors("read", self._name), transaction(self._open()) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection for writing; no other connection writes meanwhile."""
        with translate_errors("written", self._name), transaction(self._open(), writes=True) as connection:
            yield connection

    def _open(self) -> sa.Engine:
        if self._engine is None:
            self._engine = open_tables(self.file, self._schema)
        return self._engine


def open_sqlite(path: Path) -> sa.Engine:
    """Return an engine for an SQLite file with a write-ahead log and full synchronisation."""
    # Without a pool, the last connection to close merges the log into the file: an unused ledger is one file.
    engine = sa.create_engine(
        f"sqlite:///{path}", poolclass=sa.NullPool, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin_transaction)
    return engine


def _configure_connection(connection: Any, _record: Any) -> None:
    # `_begin_transaction` begins transactions, not the driver. Invalid UTF-8 in a damaged row must not stop the
    # reading: `Ledger.verify` has to name that row.
    connection.isolation_level = None
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_transaction(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
