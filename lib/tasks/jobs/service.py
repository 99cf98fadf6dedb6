"""The server's background thread: start the worker, copy job logs, free GPU memory and apply the policy."""

import logging
import os
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import torch

import lib
from lib.jobs.policy import TRAIN, submit_due_trainings
from lib.jobs.queue.job import RUNNING, UNFINISHED, Job
from lib.jobs.queue.supervisor import Supervisor
from lib.jobs.queue.worker import GRACE_SECONDS
from lib.tasks.jobs.host import JobHost
from lib.tasks.serving.models import apply_last_decision

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
POLICY_SECONDS = 5.0
LOG_TAIL_SECONDS = 2 * GRACE_SECONDS
"""Time after the end of a job for which its log is still read: a stopped job ends before its process does."""
IDLE_SECONDS = 30.0
"""Idle time after which a network is removed from the GPU while a training runs."""


class Service(threading.Thread):
    """Background thread of the server.

    Args:
        app: The served app.
    """

    def __init__(self, app: JobHost) -> None:
        super().__init__(name="service", daemon=True)
        self._app, self._queue = app, app.queue
        self._followed: dict[str, int] = {}
        self._seen, self._applied, self._policy_checked = 0, 0, 0.0

    def start(self) -> None:
        """Start the worker and this thread."""
        os.environ["PYTHONPATH"] = os.pathsep.join([str(lib.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "lib", "jobs", "work", str(self._app.app_dir), "--studies", self._app.studies]
        Supervisor(command, Path(self._app.app_dir) / "logs" / "worker.log").start()
        for job in self._queue.jobs.list():
            self._seen = job.number
            if job.status in UNFINISHED:
                self._followed[job.id] = _size(self._queue.log(job))
        super().start()

    def run(self) -> None:
        """Repeat all steps at an interval; a step that fails is logged and tried again."""
        time.sleep(INTERVAL_SECONDS)
        self.prepare()
        while True:
            time.sleep(INTERVAL_SECONDS)
            for step in (self.copy_logs, self.free_gpu, self.apply_decisions, self.apply_policy):
                try:
                    step()
                except Exception as error:
                    logger.warning("background step %s failed and is tried again: %s", step.__name__, error)

    def prepare(self) -> None:
        """Start to load what first requests need, such as the networks of click tasks."""
        for name, task in self._app.infers.items():
            try:
                task.prepare()
            except Exception as error:
                logger.warning("%s cannot run inference yet: %s", name, error)

    def copy_logs(self) -> None:
        """Copy new lines of the jobs' logs to the server's log, where viewers look for them."""
        for job in self._queue.jobs.list(after=self._seen):
            self._seen = job.number
            self._followed.setdefault(job.id, 0)
        for name in list(self._followed):
            job = self._queue.jobs.get(name)
            finished = job.ended is not None and time.time() - job.ended > LOG_TAIL_SECONDS
            self._followed[name] = self._copy_log(job, self._followed[name], to_the_end=finished)
            if finished:
                del self._followed[name]

    def free_gpu(self) -> None:
        """Remove idle networks from the GPU while a training runs."""
        if not torch.cuda.is_available() or not any(
            j.status == RUNNING for j in self._queue.jobs.list(TRAIN, unfinished=True)
        ):
            return
        for name, task in self._app.infers.items():
            if task.release(IDLE_SECONDS):
                logger.info("%s: idle network removed from the GPU for a training", name)

    def apply_decisions(self) -> None:
        """Carry out decisions in the ledger whose process was killed or had a disk error before it set the aliases."""
        decisions = self._app.ledger.rows("decision", after=self._applied)
        # A list, so that `all` does not skip tasks after a failure. The rows are read again until all tasks succeed.
        if decisions and all([apply_last_decision(self._app.app_dir, task) for task in self._app.spec.tasks]):
            self._applied = decisions[-1].seq

    def apply_policy(self) -> None:
        """Submit the trainings that are due by the app's policy, and case scoring by newly served versions."""
        if time.monotonic() - self._policy_checked < POLICY_SECONDS:
            return
        self._policy_checked = time.monotonic()
        spec, names = self._app.spec, list(self._app.trainers)
        for job in submit_due_trainings(spec.policy, self._queue, names, datetime.now(), spec.teacher_student_pairs):
            logger.info("%s: training is due by the policy, submitted as job %s", job.subject, job.id)
        for scores in self._app.case_scores.values():
            if job := scores.submit_for_new_version():
                logger.info("%s: scoring by a new version, submitted as job %s", job.subject, job.id)

    def _copy_log(self, job: Job, offset: int, *, to_the_end: bool) -> int:
        """Log the complete lines after an offset, at the end also a partial line; return the new offset."""
        if _size(self._queue.log(job)) <= offset:
            return offset
        with self._queue.log(job).open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = len(data) if to_the_end else data.rfind(b"\n") + 1
        for line in data[:whole].decode("utf-8", "replace").splitlines():
            if line.strip():
                logging.getLogger(f"task_{job.kind}").info(line.rstrip())
        return offset + whole


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
