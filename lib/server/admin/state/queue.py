"""The data of the Queue page: running jobs with their progress, waiting jobs and ended jobs."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lib.jobs.policy import TRAIN
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import RUNNING, SUBMITTED, Job

ENDED_SHOWN = 20
STATE_NAMES = {"SUBMITTED": "waiting", "RUNNING": "running", "DONE": "done", "ERROR": "failed", "STOPPED": "stopped"}
ANNOUNCED_PERCENT = 25
"""Step of progress, in percent, at which a screen reader announces a running job."""


@dataclass(frozen=True)
class Entry:
    """A job with its position in the queue and its log.

    Args:
        job: The job.
        position: Position in the queue, 1 for the next job; None if the job does not wait.
        log: The last lines of the job's log.
    """

    job: Job
    position: int | None = None
    log: Sequence[str] = ()

    @property
    def state(self) -> str:
        """The job's state in one word."""
        return STATE_NAMES.get(self.job.status, self.job.status.lower())

    @property
    def percent(self) -> int:
        """Progress of the job, from 0 to 100 percent."""
        return min(100, max(0, math.floor(100 * self.job.fraction)))

    @property
    def eta_seconds(self) -> float | None:
        """Remaining time in seconds, None if unknown."""
        eta = self.job.progress.get("eta_seconds")
        if self.job.status != RUNNING or not isinstance(eta, int | float) or not math.isfinite(eta):
            return None
        return float(eta)

    @property
    def ends(self) -> float | None:
        """Expected end in seconds since the epoch, None if unknown."""
        return None if self.eta_seconds is None else time.time() + self.eta_seconds

    @property
    def seconds(self) -> float | None:
        """Duration of the job so far, or its whole duration if it has ended; None if it has not started."""
        if self.job.started is None:
            return None
        return (self.job.ended or time.time()) - self.job.started

    @property
    def version(self) -> str:
        """Name of the version that a training made; empty if there is none."""
        result = self.job.result
        return str(result.get("version") or "") if self.job.kind == TRAIN and isinstance(result, dict) else ""

    @property
    def outcome(self) -> str:
        """Text of the outcome: the verdict about the new version, or the job's reason."""
        result = self.job.result
        if self.version and isinstance(result, dict):
            return f"{result.get('verdict')}: {result.get('reason')}"
        return self.job.reason


@dataclass(frozen=True)
class Board:
    """The jobs of the Queue page; `ended` has only the newest."""

    running: Sequence[Entry]
    waiting: Sequence[Entry]
    ended: Sequence[Entry]

    @property
    def signature(self) -> str:
        """A text that changes only if a job is added, starts or ends."""
        entries = (*self.running, *self.waiting, *self.ended)
        return ",".join(f"{entry.job.id[:8]}:{entry.job.status}" for entry in entries)

    @property
    def announcement(self) -> str:
        """The text that a screen reader announces when it changes."""
        running = [
            f"{entry.job.kind} {entry.job.subject} {entry.percent - entry.percent % ANNOUNCED_PERCENT} percent done"
            for entry in self.running
        ]
        last = [f"last: {entry.job.kind} {entry.job.subject} {entry.state}" for entry in self.ended[:1]]
        return "; ".join([*(running or ["no job is running"]), f"{len(self.waiting)} waiting", *last])


def board(queue: Queue) -> Board:
    """Return the running and waiting jobs, and the newest ended jobs."""
    order = queue.waiting()
    going = queue.jobs.list(unfinished=True)
    ended = [job for job in queue.jobs.list(last=ENDED_SHOWN + len(going)) if job.status not in (RUNNING, SUBMITTED)]
    waiting = [Entry(job, queue.position(job, order)) for job in going if job.status == SUBMITTED]
    return Board(
        running=[Entry(job, log=queue.tail(job)) for job in going if job.status == RUNNING],
        waiting=sorted(waiting, key=lambda entry: entry.position or 0),
        ended=[_ended(queue, job) for job in reversed(ended[-ENDED_SHOWN:])],
    )


def _ended(queue: Queue, job: Job) -> Entry:
    return Entry(job, log=queue.tail(job) if job.status == "ERROR" else ())
