"""Table of the jobs of one app; states change by compare-and-set, so that no process undoes a change of another."""

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, SUBMITTED, UNFINISHED, Job
from lib.records import database as engine
from lib.records.ledger import FOLDER

FILE = "jobs.db"
MAX_CRASHES = 5
"""Number of kills in a row without progress (for example for lack of memory) after which a job is not restarted."""
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
    """Table of jobs; processes and threads may share the file.

    Args:
        app_dir: Folder of the app; the table is ``records/jobs.db`` there.
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
            kind: Kind of job, such as "train".
            subject: Name of the task or scoring method that the job is for.
            request: Request of the client, as JSON.
            origin: User or policy that submits the job.
            mark: Number of the ledger's last row.
            once: Whether to return an unfinished job of the same kind and subject, if there is one, and add none.
        Returns:
            The job, and whether it is new.
        Raises:
            TypeError: If the request is not JSON.
        """
        stored = json.loads(json.dumps(dict(request)))
        facts = {"kind": kind, "subject": subject, "request": stored, "origin": origin, "mark": mark}
        state = {"status": SUBMITTED, "created": time.time(), "progress": {}, "reason": "", "crashes": 0}
        with self._tables.writing() as connection:
            if once and (found := _select(connection, JOBS.c.kind == kind, JOBS.c.subject == subject, _unfinished())):
                return found[0], False
            row = {"id": uuid.uuid4().hex, **facts, **state, "crashed_at": 0.0}
            connection.execute(sa.insert(JOBS).values(**row))
            return _select(connection, JOBS.c.id == row["id"])[0], True

    def get(self, name: str) -> Job:
        """Return the job whose id is `name`, or the only job whose id begins with `name`.

        Raises:
            ValueError: If there is no such job, or several.
        """
        found = self._read(JOBS.c.id.startswith(name, autoescape=True)) if name else []
        if len(found) != 1:
            if found:
                raise ValueError(f"the ids of {len(found)} jobs begin with {name}: give more of the id")
            raise ValueError(f"there is no job '{name}'")
        return found[0]

    def list(self, kind: str = "", *, unfinished: bool = False, after: int = 0, last: int = 0) -> list[Job]:
        """Return jobs in order of submission.

        Args:
            kind: Only jobs of this kind; empty for all kinds.
            unfinished: Only jobs that have not ended.
            after: Only jobs with a larger number.
            last: Number of newest jobs to return; 0 for all.
        """
        conditions = [*([JOBS.c.kind == kind] if kind else []), *([_unfinished()] if unfinished else [])]
        return self._read(JOBS.c.number > after, *conditions, last=last)

    def claim(self, name: str) -> bool:
        """Set a waiting job to `RUNNING`; return whether it was waiting."""
        return self._change(name, (SUBMITTED,), status=RUNNING, started=time.time(), reason="")

    def save_progress(self, name: str, progress: Mapping[str, Any]) -> None:
        """Store the progress of a running job; see `Job`."""
        self._change(name, (RUNNING,), progress=dict(progress))

    def finish(self, name: str, status: str, *, reason: str = "", result: Any = None) -> bool:
        """End a running job; return whether it was running. A stopped job stays stopped."""
        assert status in (DONE, ERROR, STOPPED), "a job ends as DONE, ERROR or STOPPED"
        return self._change(name, (RUNNING,), status=status, reason=reason, result=result, ended=time.time())

    def stop(self, name: str) -> bool:
        """End a waiting or running job; return whether it was unfinished. The worker then ends its process."""
        return self._change(name, UNFINISHED, status=STOPPED, reason="stopped on request", ended=time.time())

    def requeue(self, name: str, *, crashed: bool, reason: str) -> str:
        """Set an interrupted job back to `SUBMITTED`; a job that does not run is left as it is.

        Args:
            name: Id of the job.
            crashed: Whether the process of the job was killed; False if its worker ended.
            reason: Reason of the interruption.
        Returns:
            The status of the job; `ERROR` after too many kills without progress.
        """
        with self._tables.writing() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == name)).one()
            if row.status != RUNNING:
                return row.status
            fraction = float(row.progress.get("fraction") or 0.0)
            has_progressed = fraction > row.crashed_at
            crashes = (1 if has_progressed else row.crashes + 1) if crashed else row.crashes
            values: dict[str, Any] = {"status": SUBMITTED, "reason": reason, "crashes": crashes, "started": None}
            if crashes >= MAX_CRASHES:
                reason = f"{reason}, {crashes} times in a row without progress"
                values |= {"status": ERROR, "reason": reason, "ended": time.time()}
            values |= {"crashed_at": fraction} if crashed and has_progressed else {}
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


def _unfinished() -> sa.ColumnElement[bool]:
    return JOBS.c.status.in_(UNFINISHED)


def _select(connection: sa.Connection, *conditions: sa.ColumnElement[bool], last: int = 0) -> list[Job]:
    newest = sa.select(JOBS).where(*conditions).order_by(JOBS.c.number.desc()).limit(last or None)
    rows = connection.execute(newest).mappings().all()
    return [Job(**{name: value for name, value in row.items() if name != "crashed_at"}) for row in reversed(rows)]
