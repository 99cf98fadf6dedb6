"""What a server does for its queue: keep a worker running, follow logs, make room on the GPU, heed the policy."""

import logging
import os
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import torch

import lib
from lib.jobs.policy import TRAIN, train_what_is_due
from lib.jobs.queue.job import GOING, RUNNING, Job
from lib.jobs.queue.supervisor import Supervisor
from lib.jobs.queue.worker import GRACE_SECONDS
from lib.tasks.jobs.host import JobHost
from lib.tasks.serving.models import settle

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
POLICY_SECONDS = 5.0
LAST_WORDS_SECONDS = 2 * GRACE_SECONDS
"""A job that was stopped is over at once, while its process may still have something to say."""
IDLE_SECONDS = 30.0
"""A network that nobody asked for so long leaves the GPU to a training."""


class Service(threading.Thread):
    """A thread of the server beside its requests.

    Args:
        app: The app that is served.
    """

    def __init__(self, app: JobHost) -> None:
        super().__init__(name="service", daemon=True)
        self._app, self._queue = app, app.queue
        self._followed: dict[str, int] = {}
        self._seen, self._settled, self._asked = 0, 0, 0.0

    def start(self) -> None:
        """Start the worker and this thread."""
        os.environ["PYTHONPATH"] = os.pathsep.join([str(lib.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "lib", "jobs", "work", str(self._app.app_dir), "--studies", self._app.studies]
        Supervisor(command, Path(self._app.app_dir) / "logs" / "worker.log").start()
        for job in self._queue.jobs.list():
            self._seen = job.number
            if job.status in GOING:
                self._followed[job.id] = _size(self._queue.log(job))
        super().start()

    def run(self) -> None:
        """Look after everything, again and again; what fails once may do better the next time."""
        time.sleep(INTERVAL_SECONDS)
        self.prepare()
        while True:
            time.sleep(INTERVAL_SECONDS)
            for deed in (self.follow, self.make_room, self.settle, self.heed_policy):
                try:
                    deed()
                except Exception as error:
                    logger.warning("%s: %s", deed.__name__, error)

    def prepare(self) -> None:
        """Load what the first click would wait for, now that the server answers."""
        for name, task in self._app.infers.items():
            try:
                task.prepare()
            except Exception as error:
                logger.warning("%s cannot answer yet: %s", name, error)

    def follow(self) -> None:
        """Pass on what jobs say to the server's log, where viewers look for it."""
        for job in self._queue.jobs.list(after=self._seen):
            self._seen = job.number
            self._followed.setdefault(job.id, 0)
        for name in list(self._followed):
            job = self._queue.jobs.get(name)
            silent = job.ended is not None and time.time() - job.ended > LAST_WORDS_SECONDS
            self._followed[name] = self._pass_on(job, self._followed[name], to_the_end=silent)
            if silent:
                del self._followed[name]

    def make_room(self) -> None:
        """Take networks that nobody uses off the GPU while a training runs."""
        if not torch.cuda.is_available() or not any(
            j.status == RUNNING for j in self._queue.jobs.list(TRAIN, going=True)
        ):
            return
        for name, task in self._app.infers.items():
            if task.release(IDLE_SECONDS):
                logger.info("%s leaves the GPU to the training", name)

    def settle(self) -> None:
        """Carry out what was decided and its publisher could not: it was killed, or the disk failed it."""
        decisions = self._app.ledger.rows("decision", after=self._settled)
        # A list, for every task has its turn, and the same rows are looked at again until all could be done.
        if decisions and all([settle(self._app.app_dir, task) for task in self._app.spec.tasks]):
            self._settled = decisions[-1].seq

    def heed_policy(self) -> None:
        """Submit the trainings that are due by the app's policy, and the scores of a version new in service."""
        if time.monotonic() - self._asked < POLICY_SECONDS:
            return
        self._asked = time.monotonic()
        spec, names = self._app.spec, list(self._app.trainers)
        for job in train_what_is_due(spec.policy, self._queue, names, datetime.now(), spec.lessons):
            logger.info("%s is due by the policy: job %s", job.subject, job.id)
        for scores in self._app.case_scores.values():
            if job := scores.heed_version():
                logger.info("%s of a new version: job %s", job.subject, job.id)

    def _pass_on(self, job: Job, offset: int, *, to_the_end: bool) -> int:
        """Log the whole lines beyond an offset, at last what is left; return the offset behind them."""
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
