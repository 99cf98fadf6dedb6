"""A thread pool with bounded concurrency and a bounded queue; further requests are refused with a time to retry."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

from lib.server.refusals import Refused
from lib.tasks.serving.priority import lower_thread_priority

Answer = TypeVar("Answer")
MAX_RETRY_SECONDS = 300
FIRST_GUESS_SECONDS = 1.0
_NEWEST = 0.2
"""Weight of the newest duration in the mean."""


class BoundedExecutor:
    """Runs work in its own threads, in the order of arrival.

    Args:
        name: Name of the executor in answers and metrics.
        at_once: Number of requests that may run at once.
        waiting: Number of requests that may wait.
    """

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self.name, self.at_once, self.max_waiting = name, at_once, waiting
        self.running = self.waiting = 0
        self._mean_seconds = FIRST_GUESS_SECONDS
        self._free = asyncio.Semaphore(at_once)
        # Separate threads of lower priority, so that the framework's threads can answer all other requests.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name, initializer=lower_thread_priority)

    async def run(self, work: Callable[[float], Answer], gone: Callable[[], Awaitable[bool]] | None = None) -> Answer:
        """Run `work` as soon as a thread is free and return its result.

        Args:
            work: The work; it gets the number of seconds that it waited.
            gone: Returns whether the client has disconnected; then the work is not started.
        Raises:
            Refused: BUSY if the queue is full; with status 499 if the client has disconnected.
        """
        if self._free.locked() and self.waiting >= self.max_waiting:
            raise self._busy()
        begin = time.monotonic()
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        start = time.monotonic()
        try:
            if gone is not None and await gone():
                reason = "The client disconnected before the work was started."
                raise Refused(499, "NOBODY_WAITS", reason, "Send the request again.")
            context = contextvars.copy_context()
            answer = asyncio.wrap_future(self._threads.submit(lambda: context.run(work, start - begin)))
            # The thread counts as busy until the work has ended, even if the client has disconnected.
            with anyio.CancelScope(shield=True):
                await asyncio.wait([answer])
            return answer.result()
        finally:
            self._mean_seconds += _NEWEST * (time.monotonic() - start - self._mean_seconds)
            self.running -= 1
            self._free.release()

    def _busy(self) -> Refused:
        seconds = math.ceil(self._mean_seconds * (self.waiting + 1) / self.at_once)
        seconds = min(max(seconds, 1), MAX_RETRY_SECONDS)
        reason = f"The server is busy: {self.running} requests ({self.name}) run and {self.waiting} wait."
        return Refused(503, "BUSY", reason, f"Send the request again in {seconds} s.", retry_after=seconds)
