"""Do ahead, in the background, what the next click will want, and only while nobody waits for an answer."""

import atexit
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from lib.tasks.serving.niceness import thread_gives_way

logger = logging.getLogger(__name__)


class Prefetch:
    """One thread beside the requests: it begins nothing while one is being answered, and drops what nobody wants now.

    A request that comes waits, at the most, for the one step that was just being taken.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._asking, self._over = 0, False
        self._steps: Iterator[Callable[[], object]] = iter(())
        self._thread: threading.Thread | None = None

    @contextmanager
    def first(self) -> Iterator[None]:
        """Hold everything back during a request."""
        with self._turn:
            self._asking += 1
        try:
            yield
        finally:
            with self._turn:
                self._asking -= 1
                self._turn.notify_all()

    def want(self, steps: Iterable[Callable[[], object]] = ()) -> None:
        """Take these steps next, in their order, instead of those that were wanted before."""
        with self._turn:
            self._steps = iter(tuple(steps))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                self._thread.start()
                # A process that ends within a step, deep in native code, would be aborted.
                atexit.register(self.end)
            self._turn.notify_all()

    def end(self) -> None:
        """Take no further step, and wait for the one at work."""
        with self._turn:
            self._over = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        thread_gives_way()
        while step := self._next():
            try:
                step()
            except Exception as error:
                # Whoever wants it will meet the same trouble, and be told.
                logger.debug("not done ahead: %s", error)
            # Not to hold an image until the next click comes.
            del step

    def _next(self) -> Callable[[], object] | None:
        with self._turn:
            while not self._over:
                if not self._asking and (step := next(self._steps, None)) is not None:
                    return step
                self._turn.wait()
            return None
