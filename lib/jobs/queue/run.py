"""Run one job in this process: lease a device, stop on request, and write the end of the job to the table."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.jobs.queue.device_lease import lease_device
from lib.jobs.queue.exit_with_parent import exit_with_parent
from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, Job
from lib.jobs.queue.table import Jobs

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0


class Stopped(BaseException):
    """Raised in a job that is stopped on request; no `Exception`, so that handlers of errors do not catch it."""


@dataclass
class Run:
    """A running job, as passed to the function that does jobs of its kind.

    Args:
        app_dir: Folder of the app.
        job: The job; its `progress` is the last report of an interrupted run.
        device: Name of the leased device.
        jobs: Table of jobs.
    """

    app_dir: Path
    job: Job
    device: str
    jobs: Jobs
    _last_report: float = field(default=-INTERVAL_SECONDS, init=False)

    def report_progress(self, progress: Mapping[str, Any], *, always: bool = False) -> None:
        """Write the progress of the job to the table, at most once per second; an error is logged and not raised.

        Args:
            progress: Progress of the job; see `Job`.
            always: Write it even if the last report is less than a second old.
        """
        if always or time.monotonic() - self._last_report >= INTERVAL_SECONDS:
            self._last_report = time.monotonic()
            try:
                self.jobs.save_progress(self.job.id, {"device": self.device, **progress})
            except OSError as error:
                logger.warning("the progress of job %s cannot be saved: %s", self.job.id, error)


Kind = Callable[[Run], Any]
"""Function that does a job of one kind and returns its result as JSON."""


def execute(
    app_dir: str | Path, name: str, kinds: Mapping[str, Kind], devices: Callable[[Job], Sequence[str]], parent: int = 0
) -> bool:
    """Do a job that a worker has claimed, and write its end to the table.

    Args:
        app_dir: Folder of the app.
        name: Id of the job.
        kinds: Functions that do jobs, by kind.
        devices: Returns the names of the devices that a job can run on.
        parent: Process id of the worker; this process ends with it.
    Returns:
        Whether the job ended without an error.
    """
    exit_with_parent(parent)
    _stop_on_sigterm()
    jobs = Jobs(app_dir)
    job = jobs.get(name)
    try:

        def report_waiting(text: str) -> None:
            jobs.save_progress(job.id, {**job.progress, "text": text})

        with lease_device(devices(job), app_dir, on_wait=report_waiting) as device:
            # An earlier process of a killed worker may have ended the job while this process waited for the device.
            if jobs.get(job.id).status != RUNNING:
                return True
            run = Run(Path(app_dir), job, device, jobs)
            run.report_progress({**job.progress, "text": "begins"}, always=True)
            result = kinds[job.kind](run)
            jobs.finish(job.id, DONE, result=result)
    except Stopped:
        logger.info("job %s is stopped on request", job.id)
        jobs.finish(job.id, STOPPED, reason="stopped on request")
    except Exception as error:
        logger.exception("job %s failed", job.id)
        try:
            jobs.finish(job.id, ERROR, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
        except OSError:
            # The log of the job cannot be written either, so the exit status of the process names the reason.
            raise SystemExit(os.EX_IOERR) from None
        return False
    return True


def _stop_on_sigterm() -> None:
    owner = os.getpid()

    def stop(*_: object) -> None:
        if os.getpid() != owner:
            os._exit(1)  # a forked process that makes patches: it has no state to write
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
