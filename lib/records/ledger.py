"""The ledger of events of an app: rows are only added, and a hash chain shows later changes.

The hash of a row covers its content and the hash of the previous row, so a row that is changed, inserted or deleted
breaks the chain at that row. Rows cut off at the end do not break the chain; a small file beside the database
therefore names the last row.
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
from lib.records import database as engine
from lib.records.database import ROWS, LedgerUnavailable

logger = logging.getLogger(__name__)

KINDS = ("label", "split", "job", "version", "decision")
GENESIS = "0" * 64
UNREADABLE = "the ledger cannot be read"
FOLDER, FILE, LAST_ROW_FILE = "records", "ledger.db", "ledger.last.json"
URL_VARIABLE = "TOPOLABEL_LEDGER"
"""Environment variable with the URL of another database, ``postgresql+psycopg://...``; one database per app."""


@dataclass(frozen=True)
class Row:
    """One event of the ledger.

    Args:
        seq: Number of the row: 1, 2, ... without gaps.
        at: Time of the event, ISO 8601 in UTC.
        kind: One of `KINDS`.
        subject: Name of the image, patient or task that the event is about.
        body: Other facts, depending on the kind.
        previous: Hash of the previous row.
        hash: Hash of this row.
    """

    seq: int
    at: str
    kind: str
    subject: str
    body: dict[str, Any]
    previous: str
    hash: str


class Writer:
    """Access to the ledger in a transaction: no other process appends rows meanwhile."""

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
            raise ValueError(f"the kind of a row is one of {', '.join(KINDS)}, not {kind!r}")
        end = self._connection.execute(sa.select(ROWS.c.seq, ROWS.c.hash).order_by(ROWS.c.seq.desc()).limit(1)).first()
        seq, previous = (end.seq + 1, end.hash) if end else (1, GENESIS)
        text = canonical_json(dict(body))
        fields = {"seq": seq, "at": datetime.now(UTC).isoformat(), "kind": kind, "subject": subject}
        digest = hash_row(**fields, body=text, previous=previous)
        self._connection.execute(sa.insert(ROWS).values(**fields, body=text, previous=previous, hash=digest))
        self.last = Row(**fields, body=json.loads(text), previous=previous, hash=digest)
        return self.last


class Ledger:
    """Ledger of one app.

    Args:
        folder: Folder of the SQLite file and of the file that names the last row; created if absent.
        url: URL of another database; empty for the SQLite file in `folder`.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{(folder / FILE).resolve()}"
        self._engine: sa.Engine | None = None

    @classmethod
    def of(cls, app_dir: str | Path) -> "Ledger":
        """Return the ledger of an app; `URL_VARIABLE` in the environment selects another database than SQLite."""
        return cls(Path(app_dir) / FOLDER, os.environ.get(URL_VARIABLE, ""))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield a writer; its rows are on the disk when the block ends, and are discarded if the block raises.

        Raises:
            LedgerUnavailable: If the database cannot be written.
        """
        with engine.translate_errors("written"), engine.transaction(self._open(), writes=True) as connection:
            writer = Writer(connection)
            yield writer
        if writer.last:
            self._save_last_row(writer.last)

    def append(self, kind: str, subject: str, body: Mapping[str, Any]) -> Row:
        """Add one row; it is on the disk when this returns."""
        with self.writing() as writer:
            return writer.append(kind, subject, body)

    def rows(self, kind: str | None = None, subject: str | None = None, *, after: int = 0) -> list[Row]:
        """Return the rows of a kind and a subject with numbers above `after`, oldest first; empty without a ledger."""
        if not self.exists():
            return []
        with engine.translate_errors("read"), engine.transaction(self._open()) as connection:
            return _select(connection, kind, subject, after)

    def last(self) -> int:
        """Return the number of the last row; 0 for an empty ledger."""
        if not self.exists():
            return 0
        with engine.translate_errors("read"), engine.transaction(self._open()) as connection:
            return connection.execute(sa.select(sa.func.max(ROWS.c.seq))).scalar() or 0

    def exists(self) -> bool:
        """Return whether the SQLite file exists; True for any other database."""
        return not self.url.startswith("sqlite") or (self.folder / FILE).exists()

    def verify(self) -> list[str]:
        """Recompute the hash chain.

        Returns:
            One sentence for every fault, with the number of its row; empty for an intact ledger.
        """
        try:
            # Read before the rows: a row that another process adds meanwhile is no fault.
            known = self._load_last_row()
        except ValueError:
            return [f"{LAST_ROW_FILE} cannot be read"]
        if not self.exists():
            return [f"the ledger is missing, though {LAST_ROW_FILE} names its last row"] if known else []
        faults: list[str] = []
        hashes: dict[int, str] = {}
        try:
            with engine.transaction(self._open()) as connection:
                faults += engine.find_damage(connection)
                previous = GENESIS
                for number, row in enumerate(connection.execute(sa.select(ROWS).order_by(ROWS.c.seq)), start=1):
                    faults += _check_row(row, number, previous)
                    previous = hashes[row.seq] = row.hash
        except engine.DATABASE_ERRORS as error:
            reason = " ".join(str(engine.driver_error(error)).split())
            return [*faults, f"{UNREADABLE} beyond row {max(hashes, default=0)}: {reason}"]
        return faults + _check_last_row(known, hashes)

    def _open(self) -> sa.Engine:
        if self._engine is None:
            self._engine = engine.connect(self.url)
        return self._engine

    def _save_last_row(self, row: Row) -> None:
        # Written after the commit, so the file never names an absent row. A row is valid even if the file lags behind.
        try:
            with replacing(self.folder / LAST_ROW_FILE) as file:
                file.write_text(json.dumps({"seq": row.seq, "hash": row.hash}))
        except OSError as error:
            logger.warning("ledger row %d is saved, but %s cannot be updated: %s", row.seq, LAST_ROW_FILE, error)

    def _load_last_row(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / LAST_ROW_FILE).read_text())
        except FileNotFoundError:
            return {}


def canonical_json(value: Any) -> str:
    """Return the JSON text of a value in a unique form: sorted keys and no spaces.

    Raises:
        ValueError: If the value is not JSON; NaN is not.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"the ledger stores JSON values only: {error}") from error


def hash_row(*, seq: int, at: str, kind: str, subject: str, body: str, previous: str) -> str:
    """Return the SHA-256 of the content of a row and the hash of the previous row; `body` is canonical JSON."""
    text = canonical_json([seq, at, kind, subject, body, previous])
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _check_last_row(known: Mapping[str, Any], hashes: Mapping[int, str]) -> list[str]:
    if not known or hashes.get(known.get("seq", 0)) == known.get("hash"):
        return []
    seq = known.get("seq")
    return [f"row {seq} is not the row that {LAST_ROW_FILE} names: it was changed, or the end of the ledger is cut off"]


def _select(connection: sa.Connection, kind: str | None, subject: str | None, after: int = 0) -> list[Row]:
    query = sa.select(ROWS).where(ROWS.c.seq > after).order_by(ROWS.c.seq)
    for column, value in ((ROWS.c.kind, kind), (ROWS.c.subject, subject)):
        query = query if value is None else query.where(column == value)
    return [_read_row(found) for found in connection.execute(query)]


def _read_row(found: Any) -> Row:
    try:
        return Row(found.seq, found.at, found.kind, found.subject, json.loads(found.body), found.previous, found.hash)
    except ValueError as error:
        raise LedgerUnavailable(
            f"row {found.seq} of the ledger is damaged: run `python -m lib ledger verify`"
        ) from error


def _check_row(row: Any, number: int, previous: str) -> list[str]:
    name = f"row {row.seq} ({row.kind} {row.subject})"
    faults = [] if row.seq == number else [f"{name} stands in the place of row {number}"]
    if row.previous != previous:
        faults.append(f"{name} does not contain the hash of the previous row")
    content = {key: getattr(row, key) for key in ("seq", "at", "kind", "subject", "body", "previous")}
    return faults if hash_row(**content) == row.hash else [*faults, f"{name} does not match its hash"]
