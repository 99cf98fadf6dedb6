"""The worker: takes one job after the other from the queue, each into a process of its own, and looks after it."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout
from huey.consumer import Consumer

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import ERROR, RUNNING, STOPPED
from lib.jobs.queue.parent import end_with
from lib.records.engine import LedgerUnavailable
from lib.records.ledger import FOLDER

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
UPKEEP_SECONDS = 2.0
CANNOT_WRITE = "it could write nothing any more: make room on the disk, or let it be written to, and submit it again"
GRACE_SECONDS = 10.0
"""So long a stopped job has to leave by itself."""


class Worker:
    """The one worker of an app.

    Args:
        app_dir: The app's folder.
        command: The command that does the job of an id.
        at_once: Jobs at a time: one per device.
        environment: Of the jobs' processes.
    """

    def __init__(
        self,
        app_dir: str | Path,
        command: Callable[[str], list[str]],
        *,
        at_once: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.app_dir, self._command, self._at_once = Path(app_dir), command, at_once
        self._environment = dict(os.environ if environment is None else environment)
        self.queue = Queue(app_dir, self.work)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()

    def run(self, parent: int = 0) -> None:
        """Work until a signal comes, or the parent is gone.

        Args:
            parent: The server that started this; 0 for none.
        """
        end_with(parent, self.end)
        with self._alone():
            self.queue.recover()
            threading.Thread(target=self._keep_up, name="upkeep", daemon=True).start()
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
        """Do one job, if it is there to be begun."""
        if self._ending.is_set() or not self.queue.jobs.claim(name):
            return
        job = self.queue.jobs.get(name)
        logger.info("%s %s (%s) begins", job.kind, job.subject, job.id)
        log = self.queue.log(job)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._command(name), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )
        self._processes[name] = process
        try:
            self._look_after(name, process)
        finally:
            del self._processes[name]
        self._close(name, process.returncode)

    def end(self) -> None:
        """Kill the jobs at work; they go on from their last checkpoint when a worker is back."""
        self._ending.set()
        for process in list(self._processes.values()):
            process.kill()

    def _alone(self) -> FileLock:
        """Return the lock of the app's worker once it is ours: another one may still be ending."""
        lock, told = FileLock(self.app_dir / FOLDER / "worker.lock"), False
        (self.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(blocking=False)
                return lock
            except Timeout:
                if not told:
                    logger.info("another worker of this app is there: waiting for it to end")
                told = True
                time.sleep(POLL_SECONDS)

    def _look_after(self, name: str, process: subprocess.Popen[bytes]) -> None:
        asked = 0.0
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            try:
                stopped = self.queue.jobs.get(name).status == STOPPED
            except (LedgerUnavailable, ValueError):
                continue
            if stopped and not asked:
                asked = time.monotonic()
                process.terminate()
            elif asked and time.monotonic() - asked > GRACE_SECONDS:
                process.kill()

    def _close(self, name: str, code: int) -> None:
        """See to a job whose process ended without a word."""
        job = self.queue.jobs.get(name)
        logger.info("%s %s (%s): %s %s", job.kind, job.subject, job.id, job.status, job.reason)
        if job.status != RUNNING or self._ending.is_set():
            return
        if code < 0:
            self.queue.put_back(name, crashed=True, reason=f"it was killed by {signal.Signals(-code).name}")
        else:
            last = next((line for line in reversed(self.queue.tail(job)) if line.strip()), "")
            said = CANNOT_WRITE if code == os.EX_IOERR else last
            self.queue.jobs.finish(name, ERROR, reason=said or f"its process ended with status {code}")

    def _keep_up(self) -> None:
        while not self._ending.wait(UPKEEP_SECONDS):
            try:
                if left := self.queue.recover(frozenset(self._processes)):
                    logger.info("handed in again: %s", ", ".join(left))
            except OSError as error:
                logger.warning("%s", error)
