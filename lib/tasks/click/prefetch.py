"""Compute in the background what the next click will probably need, while no request is being answered."""

import atexit
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from lib.tasks.serving.priority import lower_thread_priority

logger = logging.getLogger(__name__)


class Prefetch:
    """One background thread that runs scheduled steps while no request is being answered.

    A request waits at most for the step that is running when the request arrives.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._requests, self._stopped = 0, False
        self._steps: Iterator[Callable[[], object]] = iter(())
        self._thread: threading.Thread | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Start no step while the context is open."""
        with self._condition:
            self._requests += 1
        try:
            yield
        finally:
            with self._condition:
                self._requests -= 1
                self._condition.notify_all()

    def schedule(self, steps: Iterable[Callable[[], object]] = ()) -> None:
        """Replace the scheduled steps by these, which run in their order."""
        with self._condition:
            self._steps = iter(tuple(steps))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                self._thread.start()
                # Python aborts if the process exits while a daemon thread is inside native code.
                atexit.register(self.stop)
            self._condition.notify_all()

    def stop(self) -> None:
        """Start no further step, and wait for the step that is running."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        lower_thread_priority()
        while step := self._next():
            try:
                step()
            except Exception as error:
                # The request that needs this result meets the same error and reports it.
                logger.debug("prefetch step failed: %s", error)
            # Release the image that the step refers to before waiting for the next step.
            del step

    def _next(self) -> Callable[[], object] | None:
        with self._condition:
            while not self._stopped:
                if not self._requests and (step := next(self._steps, None)) is not None:
                    return step
                self._condition.wait()
            return None
