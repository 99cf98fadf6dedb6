"""The queue as an admin sees it: what runs and until when, what waits, what came of the rest."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lib.jobs.policy import TRAIN
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import RUNNING, SUBMITTED, Job

ENDED_SHOWN = 20
WORDS = {"SUBMITTED": "waiting", "RUNNING": "running", "DONE": "done", "ERROR": "failed", "STOPPED": "stopped"}
ANNOUNCED_PERCENT = 25
"""A screen reader is told of so much progress at once, not of every step."""


@dataclass(frozen=True)
class Entry:
    """A job, and what only its queue and its log know.

    Args:
        job: The job.
        position: How many jobs are begun until it is, itself included; None if it does not wait.
        log: The last lines that it said.
    """

    job: Job
    position: int | None = None
    log: Sequence[str] = ()

    @property
    def state(self) -> str:
        """Its state in a word."""
        return WORDS.get(self.job.status, self.job.status.lower())

    @property
    def percent(self) -> int:
        """How much of it is done; never more than all."""
        return min(100, max(0, math.floor(100 * self.job.fraction)))

    @property
    def eta_seconds(self) -> float | None:
        """Time left, None if unknown."""
        told = self.job.progress.get("eta_seconds")
        if self.job.status != RUNNING or not isinstance(told, int | float) or not math.isfinite(told):
            return None
        return float(told)

    @property
    def ends(self) -> float | None:
        """When it will be over, None if unknown."""
        return None if self.eta_seconds is None else time.time() + self.eta_seconds

    @property
    def seconds(self) -> float | None:
        """How long it has run, or ran."""
        if self.job.started is None:
            return None
        return (self.job.ended or time.time()) - self.job.started

    @property
    def version(self) -> str:
        """The version that a training led to; empty if it led to none."""
        result = self.job.result
        return str(result.get("version") or "") if self.job.kind == TRAIN and isinstance(result, dict) else ""

    @property
    def outcome(self) -> str:
        """What came of it, or why it is not over, in words."""
        result = self.job.result
        if self.version and isinstance(result, dict):
            return f"{result.get('verdict')}: {result.get('reason')}"
        return self.job.reason


@dataclass(frozen=True)
class Board:
    """The whole queue; `ended` holds the newest only."""

    running: Sequence[Entry]
    waiting: Sequence[Entry]
    ended: Sequence[Entry]

    @property
    def signature(self) -> str:
        """Equal as long as no job came, began or ended."""
        return ",".join(f"{each.job.id[:8]}:{each.job.status}" for each in (*self.running, *self.waiting, *self.ended))

    @property
    def announcement(self) -> str:
        """What a screen reader is told when it changes."""
        at_work = [
            f"{each.job.kind} {each.job.subject} {each.percent - each.percent % ANNOUNCED_PERCENT} percent done"
            for each in self.running
        ]
        last = [f"last: {each.job.kind} {each.job.subject} {each.state}" for each in self.ended[:1]]
        return "; ".join([*(at_work or ["nothing runs"]), f"{len(self.waiting)} waiting", *last])


def board(queue: Queue) -> Board:
    """Return the queue: all that runs or waits, and the newest that ended."""
    order = queue.waiting()
    going = queue.jobs.list(going=True)
    ended = [job for job in queue.jobs.list(last=ENDED_SHOWN + len(going)) if job.status not in (RUNNING, SUBMITTED)]
    waiting = [Entry(job, queue.position(job, order)) for job in going if job.status == SUBMITTED]
    return Board(
        running=[Entry(job, log=queue.tail(job)) for job in going if job.status == RUNNING],
        waiting=sorted(waiting, key=lambda each: each.position or 0),
        ended=[_ended(queue, job) for job in reversed(ended[-ENDED_SHOWN:])],
    )


def _ended(queue: Queue, job: Job) -> Entry:
    return Entry(job, log=queue.tail(job) if job.status == "ERROR" else ())
