"""The worker: take jobs from the queue, run each in a separate process, and supervise that process."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from huey.consumer import Consumer

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.exit_with_parent import exit_with_parent
from lib.jobs.queue.job import ERROR, RUNNING, STOPPED
from lib.records.database import LedgerUnavailable
from lib.records.ledger import FOLDER

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
UPKEEP_SECONDS = 2.0
CANNOT_WRITE = "it cannot write to the disk: make room on the disk or make it writable, and submit the job again"
GRACE_SECONDS = 10.0
"""Time between the request to stop a job and the kill of its process."""


class Process(Protocol):
    """The process of a job: a `subprocess.Popen`, or a `lib.jobs.queue.fork_server.ForkedJob`."""

    @property
    def returncode(self) -> int:
        """The exit status; negative: the signal that ended the process."""
        ...

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        ...

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...


class Worker:
    """Worker of an app; only one worker per app runs at a time.

    Args:
        app_dir: Folder of the app.
        start: Starts the process that does the job with a given id and appends the output to a given log file.
        at_once: Number of jobs that run at the same time: one per device.
    """

    def __init__(
        self,
        app_dir: str | Path,
        start: Callable[[str, Path], Process],
        *,
        at_once: int = 1,
    ) -> None:
        self.app_dir, self._start, self._at_once = Path(app_dir), start, at_once
        self.queue = Queue(app_dir, self.work)
        self._processes: dict[str, Process] = {}
        self._ending = threading.Event()

    def run(self, parent: int = 0) -> None:
        """Do jobs until a signal arrives or the parent process ends.

        Args:
            parent: Process id of the server that started this worker; 0 for none.
        """
        exit_with_parent(parent, self.end)
        with self._lock_app():
            self.queue.recover()
            threading.Thread(target=self._recover_jobs, name="upkeep", daemon=True).start()
            consumer = Consumer(self.queue.huey, workers=self._at_once, periodic=False, backoff=1.2, max_delay=1.0)
            try:
                consumer.run()
            finally:
                processes = list(self._processes.values())
                self.end()
                for process in processes:
                    process.wait()
                self.queue.recover()

    def work(self, name: str) -> None:
        """Do one job, if it still waits."""
        if self._ending.is_set() or not self.queue.jobs.claim(name):
            return
        job = self.queue.jobs.get(name)
        logger.info("job %s (%s %s) begins", job.id, job.kind, job.subject)
        log = self.queue.log(job)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._processes[name] = process = self._start(name, log)
        try:
            self._supervise(name, process)
        finally:
            del self._processes[name]
        self._record_end(name, process.returncode)

    def end(self) -> None:
        """Kill the processes of running jobs; the next worker continues the jobs from their last checkpoint."""
        self._ending.set()
        for process in list(self._processes.values()):
            process.kill()

    def _lock_app(self) -> FileLock:
        """Wait for the lock of the app's worker and return it: an earlier worker may still be ending."""
        lock, has_logged = FileLock(self.app_dir / FOLDER / "worker.lock"), False
        (self.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(blocking=False)
                return lock
            except Timeout:
                if not has_logged:
                    logger.info("another worker of this app is running: waiting for its end")
                has_logged = True
                time.sleep(POLL_SECONDS)

    def _supervise(self, name: str, process: Process) -> None:
        """Wait for the end of a job's process; end the process if the job is stopped."""
        terminated = 0.0
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            try:
                stopped = self.queue.jobs.get(name).status == STOPPED
            except (LedgerUnavailable, ValueError):
                continue
            if stopped and not terminated:
                terminated = time.monotonic()
                process.terminate()
            elif terminated and time.monotonic() - terminated > GRACE_SECONDS:
                process.kill()

    def _record_end(self, name: str, code: int) -> None:
        """Write the end of a job to the table, if its process ended without doing so."""
        job = self.queue.jobs.get(name)
        logger.info("job %s (%s %s): %s %s", job.id, job.kind, job.subject, job.status, job.reason)
        if job.status != RUNNING or self._ending.is_set():
            return
        if code < 0:
            self.queue.requeue(name, crashed=True, reason=f"it was killed by {signal.Signals(-code).name}")
        else:
            last_line = next((line for line in reversed(self.queue.tail(job)) if line.strip()), "")
            reason = CANNOT_WRITE if code == os.EX_IOERR else last_line
            self.queue.jobs.finish(name, ERROR, reason=reason or f"its process ended with status {code}")

    def _recover_jobs(self) -> None:
        while not self._ending.wait(UPKEEP_SECONDS):
            try:
                if recovered := self.queue.recover(frozenset(self._processes)):
                    logger.info("jobs enqueued again: %s", ", ".join(recovered))
            except OSError as error:
                logger.warning("interrupted jobs cannot be enqueued again: %s", error)
