"""The ledger: what happened, in rows that are only ever added, each tied to the one before by its hash.

A row's hash covers its content and the previous row's hash, so a row that is changed, put in or taken out breaks the
chain there. What a chain cannot see is its end cut off; for that, a small file beside it names the last row.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lib.data.files.atomic import replacing
from lib.records import engine
from lib.records.engine import ROWS, LedgerUnavailable

logger = logging.getLogger(__name__)

KINDS = ("label", "split", "job", "version", "decision")
GENESIS = "0" * 64
UNREADABLE = "the ledger cannot be read"
FOLDER, FILE, WITNESS = "records", "ledger.db", "ledger.last.json"
URL_VARIABLE = "TOPOLABEL_LEDGER"
"""Address of another database, such as ``postgresql+psycopg://...``; one ledger per app."""


@dataclass(frozen=True)
class Row:
    """One thing that happened.

    Args:
        seq: Its number, from 1, without gaps.
        at: When, ISO 8601 in UTC.
        kind: One of `KINDS`.
        subject: What it is about: an image, a patient, a task.
        body: The rest.
        previous: Hash of the row before.
        hash: Its own.
    """

    seq: int
    at: str
    kind: str
    subject: str
    body: dict[str, Any]
    previous: str
    hash: str


class Writer:
    """A view of the ledger that nobody else can append to meanwhile."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.last: Row | None = None

    def rows(self, kind: str | None = None, subject: str | None = None) -> list[Row]:
        """Return the rows of a kind and a subject, oldest first."""
        return _select(self._connection, kind, subject)

    def append(self, kind: str, subject: str, body: Mapping[str, Any]) -> Row:
        """Add a row to the end of the chain.

        Raises:
            ValueError: If the kind is unknown or the body is not JSON.
        """
        if kind not in KINDS:
            raise ValueError(f"a row is one of {', '.join(KINDS)}, not {kind!r}")
        end = self._connection.execute(sa.select(ROWS.c.seq, ROWS.c.hash).order_by(ROWS.c.seq.desc()).limit(1)).first()
        seq, previous = (end.seq + 1, end.hash) if end else (1, GENESIS)
        text = canonical(dict(body))
        fields = {"seq": seq, "at": datetime.now(UTC).isoformat(), "kind": kind, "subject": subject}
        digest = hash_row(**fields, body=text, previous=previous)
        self._connection.execute(sa.insert(ROWS).values(**fields, body=text, previous=previous, hash=digest))
        self.last = Row(**fields, body=json.loads(text), previous=previous, hash=digest)
        return self.last


class Ledger:
    """The rows of one app.

    Args:
        folder: Where the SQLite file lies, and the file that names the last row; made if absent.
        url: Another database; absent, SQLite in `folder`.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{(folder / FILE).resolve()}"
        self._engine: sa.Engine | None = None

    @classmethod
    def of(cls, app_dir: str | Path) -> "Ledger":
        """Return the ledger of an app, in the database that the environment names if it names one."""
        return cls(Path(app_dir) / FOLDER, os.environ.get(URL_VARIABLE, ""))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield a writer; what it appended is on the disk when the block ends well, and absent otherwise.

        Raises:
            LedgerUnavailable: If the database cannot be written.
        """
        with engine.translated("written"), engine.begin(self._open(), writes=True) as connection:
            writer = Writer(connection)
            yield writer
        if writer.last:
            self._witness(writer.last)

    def append(self, kind: str, subject: str, body: Mapping[str, Any]) -> Row:
        """Add one row; it is on the disk when this returns."""
        with self.writing() as writer:
            return writer.append(kind, subject, body)

    def rows(self, kind: str | None = None, subject: str | None = None, *, after: int = 0) -> list[Row]:
        """Return the rows of a kind and a subject beyond row `after`, oldest first; none where no ledger is yet."""
        if not self.exists():
            return []
        with engine.translated("read"), engine.begin(self._open()) as connection:
            return _select(connection, kind, subject, after)

    def last(self) -> int:
        """Return the number of the last row, 0 where there is none."""
        if not self.exists():
            return 0
        with engine.translated("read"), engine.begin(self._open()) as connection:
            return connection.execute(sa.select(sa.func.max(ROWS.c.seq))).scalar() or 0

    def exists(self) -> bool:
        """Say whether a row was ever written; another database than SQLite is taken to be there."""
        return not self.url.startswith("sqlite") or (self.folder / FILE).exists()

    def verify(self) -> list[str]:
        """Recompute the chain.

        Returns:
            What does not match, one sentence each, naming the row; empty where all is well.
        """
        try:
            # Before the rows are read: a row that another process adds meanwhile is no fault.
            known = self._last_known()
        except ValueError:
            return [f"{WITNESS} cannot be read"]
        if not self.exists():
            return ["the ledger is missing, though its last row is known"] if known else []
        faults: list[str] = []
        hashes: dict[int, str] = {}
        try:
            with engine.begin(self._open()) as connection:
                faults += engine.damages(connection)
                previous = GENESIS
                for number, row in enumerate(connection.execute(sa.select(ROWS).order_by(ROWS.c.seq)), start=1):
                    faults += _faults(row, number, previous)
                    previous = hashes[row.seq] = row.hash
        except engine.FAULTS as error:
            reason = " ".join(str(engine.reason(error)).split())
            return [*faults, f"{UNREADABLE} beyond row {max(hashes, default=0)}: {reason}"]
        return faults + _cut(known, hashes)

    def _open(self) -> sa.Engine:
        if self._engine is None:
            self._engine = engine.connect(self.url)
        return self._engine

    def _witness(self, row: Row) -> None:
        # After the commit, so it never names a row that is not there. It may lag behind, and the row counts anyway.
        try:
            with replacing(self.folder / WITNESS) as file:
                file.write_text(json.dumps({"seq": row.seq, "hash": row.hash}))
        except OSError as error:
            logger.warning("row %d is safe, but %s was not renewed: %s", row.seq, WITNESS, error)

    def _last_known(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / WITNESS).read_text())
        except FileNotFoundError:
            return {}


def canonical(value: Any) -> str:
    """Return the one JSON text of a value.

    Raises:
        ValueError: If JSON cannot say it, NaN included.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"the ledger keeps JSON only: {error}") from error


def hash_row(*, seq: int, at: str, kind: str, subject: str, body: str, previous: str) -> str:
    """Return the SHA-256 of a row's content, `body` as canonical JSON, and of the hash before it."""
    return sha256(canonical([seq, at, kind, subject, body, previous]).encode("utf-8", "surrogateescape")).hexdigest()


def _cut(known: Mapping[str, Any], hashes: Mapping[int, str]) -> list[str]:
    if not known or hashes.get(known.get("seq", 0)) == known.get("hash"):
        return []
    return [f"row {known.get('seq')} is not the one that {WITNESS} names: changed, or the end is cut off"]


def _select(connection: sa.Connection, kind: str | None, subject: str | None, after: int = 0) -> list[Row]:
    query = sa.select(ROWS).where(ROWS.c.seq > after).order_by(ROWS.c.seq)
    for column, value in ((ROWS.c.kind, kind), (ROWS.c.subject, subject)):
        query = query if value is None else query.where(column == value)
    return [_row(found) for found in connection.execute(query)]


def _row(found: Any) -> Row:
    try:
        return Row(found.seq, found.at, found.kind, found.subject, json.loads(found.body), found.previous, found.hash)
    except ValueError as error:
        raise LedgerUnavailable(
            f"row {found.seq} of the ledger is damaged; run `python -m lib ledger verify`"
        ) from error


def _faults(row: Any, number: int, previous: str) -> list[str]:
    name = f"row {row.seq} ({row.kind} {row.subject})"
    faults = [] if row.seq == number else [f"{name} stands where row {number} should"]
    if row.previous != previous:
        faults.append(f"{name} does not follow the row before it")
    content = {key: getattr(row, key) for key in ("seq", "at", "kind", "subject", "body", "previous")}
    return faults if hash_row(**content) == row.hash else [*faults, f"{name} does not match its hash"]
