"""End this process when its parent process ends: without the parent, no process supervises it."""

import os
import threading
import time
from collections.abc import Callable

POLL_SECONDS = 0.25


def exit_with_parent(parent: int, before_exit: Callable[[], object] = lambda: None) -> None:
    """Start a thread that ends this process at once when a process is no longer its parent.

    Args:
        parent: Id of the parent process; 0 starts no thread.
        before_exit: Called before this process ends.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        try:
            before_exit()
        finally:
            os._exit(1)

    if parent:
        threading.Thread(target=watch, name="parent", daemon=True).start()
