"""Keep a worker running: start it, and start it again if it ends."""

import logging
import os
import subprocess
import threading
import time
from pathlib import Path

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 30.0
SOUND_SECONDS = 30.0
"""A worker that lived so long was sound: its successor is started at once."""


class Supervisor:
    """Looks after one worker process. It ends with this process: see `lib.jobs.queue.parent`.

    Args:
        command: Starts the worker; ``--parent`` and the id of this process are added.
        log: Where its output goes.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = [*command, "--parent", str(os.getpid())], log
        self._ending = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker, without waiting for it."""
        self._thread.start()

    def end(self) -> None:
        """End the worker."""
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        self._thread.join(LONGEST_PAUSE_SECONDS)

    def _run(self) -> None:
        pause = 0.5
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                code = self._once()
            except OSError as error:
                code = error.strerror
            if self._ending.is_set():
                return
            pause = 0.5 if time.monotonic() - began > SOUND_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)
            logger.warning("the worker ended (%s); it is started again in %.0f s", code, pause)
            self._ending.wait(pause)

    def _once(self) -> int:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            # Apart from the terminal's group: Ctrl+C is for the server, which the worker then follows. But of its
            # session: Linux shares the processor among sessions first, and a nice job in another one takes half of it.
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        return self.process.wait()
