"""The queue of jobs: a table with the state of each job, and huey, which passes jobs in order to the worker.

Huey deletes a job from its queue when it passes the job on, so the state of a job is kept in the table. Jobs of killed
processes are found in the table and enqueued again. A job that is passed on twice starts once: see `Jobs.claim`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from lib.jobs.queue.job import RUNNING, SUBMITTED, Job
from lib.jobs.queue.table import Jobs
from lib.records import database as engine
from lib.records.ledger import Ledger

BUSY_SECONDS = 60
LOGS = Path("logs") / "jobs"
TAIL = 20
_TAIL_BYTES = 1 << 16


class Queue:
    """Queue of one app: submit, stop and list jobs.

    Args:
        app_dir: Folder of the app.
        work: Function that does the job with a given id; only a worker passes it.
    """

    def __init__(self, app_dir: str | Path, work: Callable[[str], None] | None = None) -> None:
        self.app_dir, self.jobs, self.ledger = Path(app_dir), Jobs(app_dir), Ledger.of(app_dir)
        self._work, self._huey = work, None

    @property
    def huey(self) -> SqliteHuey:
        """Huey's broker; its file is created on first use."""
        if self._huey is None:
            self.jobs.file.parent.mkdir(parents=True, exist_ok=True)
            with engine.translate_errors("opened", "the queue"):
                self._huey = SqliteHuey(
                    "topolabel", filename=str(self.jobs.file), results=False, fsync=True, strict_fifo=True,
                    timeout=BUSY_SECONDS,
                )  # fmt: skip
            work = self._work

            def run_job(name: str) -> None:
                assert work is not None, "only a worker takes jobs"
                work(name)

            self._task = self._huey.task()(run_job)
        return self._huey

    def submit(
        self, kind: str, subject: str, request: Mapping[str, Any], *, origin: str = "", once: bool = False
    ) -> Job:
        """Submit a job, which then survives the kill of any process; for the arguments see `Jobs.add`."""
        job, is_new = self.jobs.add(kind, subject, request, origin=origin, mark=self.ledger.last(), once=once)
        if is_new:
            self._enqueue(job.id)
        return job

    def stop(self, name: str) -> Job:
        """Stop a job that waits or runs.

        Raises:
            ValueError: If there is no such job, or it has ended.
        """
        job = self.jobs.get(name)
        if not self.jobs.stop(job.id):
            raise ValueError(f"job {job.id} has ended already: {self.jobs.get(job.id).status}")
        return self.jobs.get(job.id)

    def requeue(self, name: str, *, crashed: bool, reason: str) -> None:
        """Put an interrupted job at the front of the queue; for the arguments see `Jobs.requeue`."""
        if self.jobs.requeue(name, crashed=crashed, reason=reason) == SUBMITTED:
            self._enqueue(name, first=True)

    def recover(self, at_work: frozenset[str] = frozenset()) -> list[str]:
        """Enqueue again the jobs that killed processes left behind; only the worker of the app calls it.

        Args:
            at_work: Ids of the jobs that this worker is doing.
        Returns:
            Ids of the enqueued jobs.
        """
        enqueued, lost = set(self.waiting()), []
        for job in self.jobs.list(unfinished=True):
            if job.id in at_work or (job.status == SUBMITTED and job.id in enqueued):
                continue
            if job.status == RUNNING:
                self.requeue(job.id, crashed=False, reason="interrupted")
            else:
                self._enqueue(job.id)
            lost.append(job.id)
        return lost

    def waiting(self) -> list[str]:
        """Return the ids of the waiting jobs, the next one first."""
        if not self.jobs.file.exists():
            return []
        with engine.translate_errors("read", "the queue"):
            return [task.args[0] for task in self.huey.pending()]

    def position(self, job: Job, waiting: list[str] | None = None) -> int | None:
        """Return the place of a job in the queue, 1 for the next one; None if the job does not wait.

        Args:
            job: The job.
            waiting: Result of `waiting`, if the caller has it.
        """
        if job.status != SUBMITTED:
            return None
        submitted = {other.id for other in self.jobs.list(unfinished=True) if other.status == SUBMITTED}
        order = [name for name in (self.waiting() if waiting is None else waiting) if name in submitted]
        return order.index(job.id) + 1 if job.id in order else 1

    def log(self, job: Job) -> Path:
        """Return the path of the log file of a job."""
        return self.app_dir / LOGS / f"{job.id}.log"

    def tail(self, job: Job, lines: int = TAIL) -> list[str]:
        """Return the last lines of the log of a job."""
        try:
            with self.log(job).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def show(self, job: Job) -> dict[str, Any]:
        """Return a job as JSON, with its place in the queue, its result and the end of its log."""
        return job.as_dict() | {"position": self.position(job), "result": job.result, "log": self.tail(job)}

    def _enqueue(self, name: str, *, first: bool = False) -> None:
        with engine.translate_errors("written", "the queue"):
            self.huey.enqueue(self._task.s(name, priority=1 if first else 0))
