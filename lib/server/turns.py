"""Turns at a device: so many work at once, so many wait, and whoever comes then is told when to ask again."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

from lib.server.refusals import Refused
from lib.tasks.serving.niceness import thread_gives_way

Answer = TypeVar("Answer")
MAX_RETRY_SECONDS = 300
FIRST_GUESS_SECONDS = 1.0
_NEWEST = 0.2
"""Weight of the newest duration in the mean."""


class Turns:
    """Work in threads of its own, first come first served.

    Args:
        name: What it is for, in answers and metrics.
        at_once: How many work at once.
        waiting: How many may wait.
    """

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self.name, self.at_once, self.max_waiting = name, at_once, waiting
        self.running = self.waiting = 0
        self._mean_seconds = FIRST_GUESS_SECONDS
        self._free = asyncio.Semaphore(at_once)
        # Not the framework's threads: those answer everybody else, and these give way to them.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name, initializer=thread_gives_way)

    async def run(self, work: Callable[[float], Answer], gone: Callable[[], Awaitable[bool]] | None = None) -> Answer:
        """Return what `work` returns, when its turn has come.

        Args:
            work: Told how many seconds it waited.
            gone: Says whether whoever asked has left; work that nobody waits for is not done.
        Raises:
            Refused: BUSY, if as many wait as may; NOBODY_WAITS.
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
                raise Refused(499, "NOBODY_WAITS", "The client left before its turn.", "Ask again.")
            context = contextvars.copy_context()
            answer = asyncio.wrap_future(self._threads.submit(lambda: context.run(work, start - begin)))
            # A turn is over when its thread is, whatever became of who asked.
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
        reason = f"{self.running} requests ({self.name}) are at work and {self.waiting} wait."
        return Refused(503, "BUSY", reason, f"Ask again in {seconds} s.", retry_after=seconds)
