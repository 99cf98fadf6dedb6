"""Guessing passwords gets slower with every wrong one."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lib.server.auth.denied import Denied

MAX_DELAY_S = 900.0
FORGOTTEN_S = 3600.0
MAX_KEPT = 10_000
FREE_OF_A_PAIR = 3
FREE_OF_ONE = 30
"""Wrong passwords before delays begin: for a name from one address, and for either alone. Many people share the address
of a proxy, and nobody may lock out a colleague with a few guesses."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Failures:
    """Wrong passwords in a row.

    Args:
        count: How many.
        until: When the next may be tried.
        last: When the last was.
    """

    count: int
    until: float
    last: float


class Throttle:
    """Count wrong passwords per name and address, and make the next one wait.

    Args:
        clock: The time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures: OrderedDict[Key, Failures] = OrderedDict()

    def begin(self, name: str, address: str) -> None:
        """Count a try as failed until `succeeded` takes it back: tries at the same moment do not slip through.

        Raises:
            Denied: If the next try must wait.
        """
        with self._lock:
            now, keys = self._clock(), _keys(name, address)
            wait = max(self._of(key, now).until for key in keys) - now
            if wait > 0:
                seconds = math.ceil(wait)
                reason = f"Too many wrong passwords; the next may be tried in {seconds} s."
                remedy = "Wait, or ask an admin for a new password."
                raise Denied(429, "TOO_MANY_TRIES", reason, remedy, retry_after=seconds)
            for key, free in keys.items():
                count = self._of(key, now).count + 1
                delay = min(2.0 ** min(count - free, 16), MAX_DELAY_S) if count > free else 0.0
                self._failures[key] = Failures(count, now + delay, now)
                self._failures.move_to_end(key)
            while len(self._failures) > MAX_KEPT:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name that came in; those of its address stay, less this try."""
        with self._lock:
            for key in _keys(name, address):
                failures = self._failures.pop(key, None)
                if failures and not key[0]:
                    self._failures[key] = Failures(failures.count - 1, 0.0, failures.last)

    def _of(self, key: Key, now: float) -> Failures:
        failures = self._failures.get(key)
        return failures if failures and now - failures.last < FORGOTTEN_S else Failures(0, 0.0, now)


def _keys(name: str, address: str) -> dict[Key, int]:
    return {(name, address): FREE_OF_A_PAIR, (name, ""): FREE_OF_ONE, ("", address): FREE_OF_ONE}
