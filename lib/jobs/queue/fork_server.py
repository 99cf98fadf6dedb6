"""Start jobs as forks of a process that has already imported what they need."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

Work = Callable[[str, str], bool]
"""Do a job, given the app's folder and the job's id, and return whether it succeeded; a function of a module."""


class ForkedJob:
    """The process of a job, with the part of `subprocess.Popen` that a worker uses."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid or 0

    @property
    def returncode(self) -> int:
        """The exit status; negative: the signal that ended the process."""
        status = self._process.exitcode
        return 0 if status is None else status

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        self._process.join()
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


class ForkServer:
    """A process that imports modules once and forks for every job, so that a job starts without importing them.

    The process never touches a GPU: CUDA cannot be used in a fork of a process that has used it.

    Args:
        app_dir: The app's folder.
        work: Does a job.
        modules: Modules that the process imports before the first job.
    """

    def __init__(self, app_dir: str | Path, work: Work, modules: Sequence[str]) -> None:
        self._app_dir, self._work = str(app_dir), work
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(modules))
        # The system closes this pipe when the worker ends, even if it is killed; the jobs then end too.
        self._alive, self._held = self._context.Pipe(duplex=False)

    def prepare(self) -> None:
        """Start the process, which imports its modules; do not wait for it."""
        forkserver.ensure_running()

    def start(self, job: str, log: Path) -> ForkedJob:
        """Start the process of a job.

        Args:
            job: The job's id.
            log: File that its output is added to.
        """
        process = self._context.Process(target=_run, args=(self._work, self._app_dir, job, log, self._alive))
        process.start()
        return ForkedJob(process)


def _run(work: Work, app_dir: str, job: str, log: Path, alive: Connection) -> None:
    """Do a job in this process, its output in the log."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(stream, target)

    def end_with_worker() -> None:
        wait([alive])
        os._exit(1)

    threading.Thread(target=end_with_worker, name="worker's end", daemon=True).start()
    sys.exit(0 if work(app_dir, job) else 1)
