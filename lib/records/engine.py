"""The ledger's database: its table, the triggers that keep rows as they are, and one writer at a time.

SQLite runs with a write-ahead log and full synchronisation: readers never wait, and a committed row outlives a power
cut. PostgreSQL gets the same table and triggers.
"""

import errno
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

BUSY_SECONDS = 60
LOCK_NUMBER = 7_061_646
"""Any number, the same for every process: PostgreSQL's advisory lock of writers."""
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
    # A replacing insert deletes without asking the other trigger.
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
FAULTS = (DBAPIError, sqlite3.Error)
"""What a database raises; bare where a connection cannot even be made."""
_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_SHMSIZE: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EROFS,
}


class LedgerUnavailable(OSError):
    """Raised where the ledger cannot be read or written, with the reason."""


def connect(url: str) -> sa.Engine:
    """Return an engine for a ledger, made if absent.

    Args:
        url: SQLAlchemy's address of a database: SQLite or PostgreSQL.
    Raises:
        LedgerUnavailable: If the address is of neither.
    """
    if not url.startswith(("sqlite:", "postgresql:", "postgresql+")):
        kind = url.partition(":")[0]
        raise LedgerUnavailable(errno.EINVAL, f"no ledger is kept in {kind}: use postgresql://USER@HOST/DATABASE")
    if not url.startswith("sqlite:"):
        engine = sa.create_engine(url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
            _create(connection, "postgresql")
        return engine
    path = Path(sa.make_url(url).database or "")
    if not path.exists():
        _found(path)
    return open_sqlite(path)


@contextmanager
def begin(engine: sa.Engine, *, writes: bool = False) -> Iterator[sa.Connection]:
    """Yield a connection in one transaction; a writer has the ledger to itself."""
    with engine.connect() as connection, connection.execution_options(writes=writes).begin():
        if writes and engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
        yield connection


@contextmanager
def translated(deed: str, what: str = "the ledger") -> Iterator[None]:
    """Raise the database's errors as `LedgerUnavailable`, with the disk's own number where it is the disk."""
    try:
        yield
    except FAULTS as error:
        cause = reason(error)
        code = getattr(cause, "sqlite_errorcode", 0)
        # The low byte is the family of an error; the full code is one member.
        number = _NUMBERS.get(code) or _NUMBERS.get(code & 0xFF, errno.EIO)
        raise LedgerUnavailable(number, f"{what} cannot be {deed}: {cause}") from error


def reason(error: Exception) -> BaseException:
    """Return the database's own error, without the statement that met it."""
    return getattr(error, "orig", None) or error


def damages(connection: sa.Connection) -> list[str]:
    """Return what the database itself finds wrong with its file."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return [f"the ledger's file is damaged: {' '.join(line.split())}" for line in found if line != "ok"]


def _found(path: Path) -> None:
    """Make an empty ledger beside its place and move it there: nobody ever sees half a schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{uuid.uuid4().hex[:6]}")
    try:
        with translated("made"):
            engine = open_sqlite(partial)
            with engine.begin() as connection:
                _create(connection, "sqlite")
        _place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _place(partial: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link leaves alone what another process placed meanwhile.
        os.link(partial, path)
    except FileExistsError:
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(connection: sa.Connection, dialect: str) -> None:
    SCHEMA.create_all(connection)
    for statement in TRIGGERS[dialect]:
        connection.exec_driver_sql(statement)


def open_tables(path: Path, schema: sa.MetaData) -> sa.Engine:
    """Return an engine for a SQLite file with the tables of a schema, made if absent; several processes may do so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = open_sqlite(path)
    with begin(engine, writes=True) as connection:
        for table in schema.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
    return engine


class Tables:
    """The tables of a schema in a SQLite file of their own, opened at first need; processes share the file.

    Args:
        file: Made by the first that writes.
        schema: Its tables.
        what: What they are, in a refusal.
    """

    def __init__(self, file: Path, schema: sa.MetaData, what: str) -> None:
        self.file, self._schema, self._what = file, schema, what
        self._engine: sa.Engine | None = None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that reads one state."""
        with translated("read", self._what), begin(self._open()) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection that nobody writes beside."""
        with translated("written", self._what), begin(self._open(), writes=True) as connection:
            yield connection

    def _open(self) -> sa.Engine:
        if self._engine is None:
            self._engine = open_tables(self.file, self._schema)
        return self._engine


def open_sqlite(path: Path) -> sa.Engine:
    """Return an engine for a SQLite file with a write-ahead log and full synchronisation."""
    # Without a pool the last to leave folds the log into the file, so that at rest the ledger is one file.
    engine = sa.create_engine(
        f"sqlite:///{path}", poolclass=sa.NullPool, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # The driver would begin by its own rules; and a damaged row is to be read, and named, not to end the reading.
    connection.isolation_level = None
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
