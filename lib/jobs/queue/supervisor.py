"""Keep a worker process running: start it, and start it again when it ends."""

import logging
import os
import subprocess
import threading
import time
from pathlib import Path

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 30.0
"""After a worker that ran longer than this, the next worker starts without a longer pause."""


class Supervisor:
    """Starts and restarts one worker process. The worker ends with this process: see `lib.jobs.queue.exit_with_parent`.

    Args:
        command: Command that starts the worker; ``--parent`` and the id of this process are added.
        log: Path of the worker's log file.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = [*command, "--parent", str(os.getpid())], log
        self._ending = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker in the background."""
        self._thread.start()

    def end(self) -> None:
        """End the worker and stop restarting it."""
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        self._thread.join(LONGEST_PAUSE_SECONDS)

    def _run(self) -> None:
        pause = 0.5
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                code = self._run_worker()
            except OSError as error:
                code = error.strerror
            if self._ending.is_set():
                return
            pause = 0.5 if time.monotonic() - began > STABLE_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)
            logger.warning("the worker ended (%s) and restarts in %.0f s", code, pause)
            self._ending.wait(pause)

    def _run_worker(self) -> int:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            # A process group of its own: Ctrl+C in the terminal ends the server, and then the worker ends with it. But
            # the same session: Linux divides the CPU among sessions first, so niceness acts only within a session.
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        return self.process.wait()
