"""The jobs of one app, in a table: their states change by compare-and-set, so that processes never undo each other."""

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lib.jobs.queue.job import DONE, ERROR, GOING, RUNNING, STOPPED, SUBMITTED, Job
from lib.records import engine
from lib.records.ledger import FOLDER

FILE = "jobs.db"
MAX_CRASHES = 5
"""A job that is killed so often without getting any further, for want of memory perhaps, is not begun again."""
SCHEMA = sa.MetaData()
JOBS = sa.Table(
    "jobs",
    SCHEMA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("result", sa.JSON),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("mark", sa.Integer, nullable=False),
    sa.Column("crashed_at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)


class Jobs:
    """The table of jobs; processes and threads may share the file.

    Args:
        app_dir: The app's folder; the table is ``records/jobs.db`` there.
    """

    def __init__(self, app_dir: str | Path) -> None:
        self.file = Path(app_dir) / FOLDER / FILE
        self._tables = engine.Tables(self.file, SCHEMA, "the queue")

    def add(
        self,
        kind: str,
        subject: str,
        request: Mapping[str, Any],
        *,
        origin: str = "",
        mark: int = 0,
        once: bool = False,
    ) -> tuple[Job, bool]:
        """Add a job; it is on the disk when this returns.

        Args:
            kind: What sort of job.
            subject: What it is about.
            request: What is asked, JSON.
            origin: Who asks.
            mark: The ledger's last row.
            once: Whether a job of that kind and subject that is not over yet does as well.
        Returns:
            The job, and whether it is a new one.
        Raises:
            ValueError: If the request is not JSON.
        """
        asked = json.loads(json.dumps(dict(request)))
        facts = {"kind": kind, "subject": subject, "request": asked, "origin": origin, "mark": mark}
        state = {"status": SUBMITTED, "created": time.time(), "progress": {}, "reason": "", "crashes": 0}
        with self._tables.writing() as connection:
            if once and (found := _select(connection, JOBS.c.kind == kind, JOBS.c.subject == subject, _going())):
                return found[0], False
            row = {"id": uuid.uuid4().hex, **facts, **state, "crashed_at": 0.0}
            connection.execute(sa.insert(JOBS).values(**row))
            return _select(connection, JOBS.c.id == row["id"])[0], True

    def get(self, name: str) -> Job:
        """Return the job of that id, or of one that begins so.

        Raises:
            ValueError: If there is none, or there are several.
        """
        found = self._read(JOBS.c.id.startswith(name, autoescape=True)) if name else []
        if len(found) != 1:
            raise ValueError(f"there is no job {name}" if not found else f"{len(found)} jobs begin with {name}")
        return found[0]

    def list(self, kind: str = "", *, going: bool = False, after: int = 0, last: int = 0) -> list[Job]:
        """Return the jobs in order of submission.

        Args:
            kind: One kind only.
            going: Only those that are not over.
            after: Only those beyond that number.
            last: Only so many, the newest; 0 for all.
        """
        return self._read(
            JOBS.c.number > after, *([JOBS.c.kind == kind] if kind else []), *([_going()] if going else []), last=last
        )

    def claim(self, name: str) -> bool:
        """Begin a job; say whether it was there to be begun."""
        return self._change(name, (SUBMITTED,), status=RUNNING, started=time.time(), reason="")

    def tell(self, name: str, progress: Mapping[str, Any]) -> None:
        """Note where a job stands."""
        self._change(name, (RUNNING,), progress=dict(progress))

    def finish(self, name: str, status: str, *, reason: str = "", result: Any = None) -> bool:
        """End a job that runs; say whether it did. One that was stopped stays stopped."""
        assert status in (DONE, ERROR, STOPPED), "these are ends"
        return self._change(name, (RUNNING,), status=status, reason=reason, result=result, ended=time.time())

    def stop(self, name: str) -> bool:
        """End a job that waits or runs; say whether it was not over. Who does the work sees it and stops."""
        return self._change(name, GOING, status=STOPPED, reason="stopped on request", ended=time.time())

    def put_back(self, name: str, *, crashed: bool, reason: str) -> str:
        """Let a job that was interrupted wait again.

        Args:
            name: Its id.
            crashed: Whether the job itself was killed, and not who looked after it.
            reason: What happened.
        Returns:
            Its status; `ERROR` for one that was killed too often without getting any further.
        """
        with self._tables.writing() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == name)).one()
            if row.status != RUNNING:
                return row.status
            fraction = float(row.progress.get("fraction") or 0.0)
            further = fraction > row.crashed_at
            crashes = (1 if further else row.crashes + 1) if crashed else row.crashes
            values: dict[str, Any] = {"status": SUBMITTED, "reason": reason, "crashes": crashes, "started": None}
            if crashes >= MAX_CRASHES:
                reason = f"{reason}, {crashes} times in a row without getting any further"
                values |= {"status": ERROR, "reason": reason, "ended": time.time()}
            values |= {"crashed_at": fraction} if crashed and further else {}
            connection.execute(sa.update(JOBS).where(JOBS.c.id == name).values(**values))
            return str(values["status"])

    def _change(self, name: str, states: tuple[str, ...], **values: Any) -> bool:
        with self._tables.writing() as connection:
            change = sa.update(JOBS).where(JOBS.c.id == name, JOBS.c.status.in_(states)).values(**values)
            return connection.execute(change).rowcount == 1

    def _read(self, *conditions: sa.ColumnElement[bool], last: int = 0) -> "list[Job]":
        if not self.file.exists():
            return []
        with self._tables.reading() as connection:
            return _select(connection, *conditions, last=last)


def _going() -> sa.ColumnElement[bool]:
    return JOBS.c.status.in_(GOING)


def _select(connection: sa.Connection, *conditions: sa.ColumnElement[bool], last: int = 0) -> list[Job]:
    newest = sa.select(JOBS).where(*conditions).order_by(JOBS.c.number.desc()).limit(last or None)
    rows = connection.execute(newest).mappings().all()
    return [Job(**{name: value for name, value in row.items() if name != "crashed_at"}) for row in reversed(rows)]
