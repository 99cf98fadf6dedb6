"""One job in a process of its own: on a leased device, stopped on request, its end written down."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, Job
from lib.jobs.queue.lease import leased
from lib.jobs.queue.parent import end_with
from lib.jobs.queue.table import Jobs

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0


class Stopped(BaseException):
    """Raised in a job that somebody stopped; no ordinary error, so that nothing on its way takes it for one."""


@dataclass
class Run:
    """A job at work, as its kind sees it.

    Args:
        app_dir: The app's folder.
        job: The job; its `progress` is what an interrupted run told last.
        device: The device that is leased for it.
        jobs: The table.
    """

    app_dir: Path
    job: Job
    device: str
    jobs: Jobs
    _told: float = field(default=-INTERVAL_SECONDS, init=False)

    def tell(self, progress: Mapping[str, Any], *, always: bool = False) -> None:
        """Note where the job stands, if the last time is a while ago; trouble with that stops no job."""
        if always or time.monotonic() - self._told >= INTERVAL_SECONDS:
            self._told = time.monotonic()
            try:
                self.jobs.tell(self.job.id, {"device": self.device, **progress})
            except OSError as error:
                logger.warning("progress was not noted: %s", error)


Kind = Callable[[Run], Any]
"""Does a job and returns what came of it, JSON."""


def execute(
    app_dir: str | Path, name: str, kinds: Mapping[str, Kind], devices: Callable[[Job], Sequence[str]], parent: int = 0
) -> bool:
    """Do a job that was begun, and write down how it ended.

    Args:
        app_dir: The app's folder.
        name: The job's id.
        kinds: What does a job, by its kind.
        devices: The devices that will do for a job.
        parent: The worker; without it, the job ends too.
    Returns:
        Whether it ended well.
    """
    end_with(parent)
    _stop_on_sigterm()
    jobs = Jobs(app_dir)
    job = jobs.get(name)
    try:
        fit = devices(job)
        with leased(fit, app_dir, waits=lambda text: jobs.tell(job.id, {**job.progress, "text": text})) as device:
            # A predecessor whose worker was killed may have ended the job while this one waited for the device.
            if jobs.get(job.id).status != RUNNING:
                return True
            run = Run(Path(app_dir), job, device, jobs)
            run.tell({**job.progress, "text": "begins"}, always=True)
            result = kinds[job.kind](run)
            jobs.finish(job.id, DONE, result=result)
    except Stopped:
        logger.info("stopped on request")
        jobs.finish(job.id, STOPPED, reason="stopped on request")
    except Exception as error:
        logger.exception("job %s failed", job.id)
        try:
            jobs.finish(job.id, ERROR, reason=f"{type(error).__name__}: {' '.join(str(error).split())}")
        except OSError:
            # Nor will its log say why; the status of the process does.
            raise SystemExit(os.EX_IOERR) from None
        return False
    return True


def _stop_on_sigterm() -> None:
    owner = os.getpid()

    def stop(*_: object) -> None:
        if os.getpid() != owner:
            os._exit(1)  # a process that makes patches: it was forked, and has nothing to write down
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
