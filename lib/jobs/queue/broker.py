"""The queue: jobs in their table, and huey, which hands them to whoever is free, in order.

What huey hands out is gone from its queue, so a job's state lives in the table; what a killed process left is found
there and handed in anew. A job that is handed out twice is begun once: see `Jobs.claim`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from lib.jobs.queue.job import RUNNING, SUBMITTED, Job
from lib.jobs.queue.table import Jobs
from lib.records import engine
from lib.records.ledger import Ledger

BUSY_SECONDS = 60
LOGS = Path("logs") / "jobs"
TAIL = 20
_TAIL_BYTES = 1 << 16


class Queue:
    """The jobs of one app, as those who submit them see it.

    Args:
        app_dir: The app's folder.
        work: Does the job of an id; given by a worker only.
    """

    def __init__(self, app_dir: str | Path, work: Callable[[str], None] | None = None) -> None:
        self.app_dir, self.jobs, self.ledger = Path(app_dir), Jobs(app_dir), Ledger.of(app_dir)
        self._work, self._huey = work, None

    @property
    def huey(self) -> SqliteHuey:
        """The broker; its file is made when it is first asked for."""
        if self._huey is None:
            self.jobs.file.parent.mkdir(parents=True, exist_ok=True)
            with engine.translated("opened", "the queue"):
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
        """Hand in a job; when this returns, it will be done whatever is killed. The rest as `Jobs.add`."""
        job, new = self.jobs.add(kind, subject, request, origin=origin, mark=self.ledger.last(), once=once)
        if new:
            self._hand_in(job.id)
        return job

    def stop(self, name: str) -> Job:
        """Stop a job that waits or runs.

        Raises:
            ValueError: If there is no such job, or it is over.
        """
        job = self.jobs.get(name)
        if not self.jobs.stop(job.id):
            raise ValueError(f"job {job.id} is over: {self.jobs.get(job.id).status}")
        return self.jobs.get(job.id)

    def put_back(self, name: str, *, crashed: bool, reason: str) -> None:
        """Let an interrupted job wait again, before all others."""
        if self.jobs.put_back(name, crashed=crashed, reason=reason) == SUBMITTED:
            self._hand_in(name, first=True)

    def recover(self, at_work: frozenset[str] = frozenset()) -> list[str]:
        """Hand in what killed processes left; for the one worker of the app.

        Args:
            at_work: Jobs that this worker is doing.
        Returns:
            Their ids.
        """
        handed_in, left = set(self.waiting()), []
        for job in self.jobs.list(going=True):
            if job.id in at_work or (job.status == SUBMITTED and job.id in handed_in):
                continue
            if job.status == RUNNING:
                self.put_back(job.id, crashed=False, reason="interrupted")
            else:
                self._hand_in(job.id)
            left.append(job.id)
        return left

    def waiting(self) -> list[str]:
        """Return the ids that wait, the next one first."""
        if not self.jobs.file.exists():
            return []
        with engine.translated("read", "the queue"):
            return [task.args[0] for task in self.huey.pending()]

    def position(self, job: Job, waiting: list[str] | None = None) -> int | None:
        """Return how many jobs will be begun until a job is, itself included; None if it does not wait."""
        if job.status != SUBMITTED:
            return None
        going = {each.id for each in self.jobs.list(going=True) if each.status == SUBMITTED}
        order = [name for name in (self.waiting() if waiting is None else waiting) if name in going]
        return order.index(job.id) + 1 if job.id in order else 1

    def log(self, job: Job) -> Path:
        """Return the file of what a job says."""
        return self.app_dir / LOGS / f"{job.id}.log"

    def tail(self, job: Job, lines: int = TAIL) -> list[str]:
        """Return the last lines that a job said."""
        try:
            with self.log(job).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def show(self, job: Job) -> dict[str, Any]:
        """Return a job with its place in the queue and the end of its log."""
        return job.as_dict() | {"position": self.position(job), "result": job.result, "log": self.tail(job)}

    def _hand_in(self, name: str, *, first: bool = False) -> None:
        with engine.translated("written", "the queue"):
            self.huey.enqueue(self._task.s(name, priority=1 if first else 0))
