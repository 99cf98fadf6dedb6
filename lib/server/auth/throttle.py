"""A delay between sign-in attempts that grows with every wrong password."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lib.server.auth.access_denied import AccessDenied

MAX_DELAY_S = 900.0
FORGET_AFTER_S = 3600.0
MAX_ENTRIES = 10_000
FREE_PER_PAIR = 3
FREE_PER_NAME_OR_ADDRESS = 30
"""Wrong passwords before delays begin: for one name from one address, and for a name or an address alone. The second
number is higher because many users share the address of a proxy, and a few guesses must not lock out a colleague."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Failures:
    """Consecutive wrong passwords.

    Args:
        count: Number of wrong passwords.
        until: Time in seconds at which the next attempt is allowed.
        last: Time in seconds of the last attempt.
    """

    count: int
    until: float
    last: float


class Throttle:
    """Counts wrong passwords per name and address, and delays the next attempt.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures: OrderedDict[Key, Failures] = OrderedDict()

    def record_attempt(self, name: str, address: str) -> None:
        """Count an attempt as failed until `record_success` is called, so that parallel attempts are limited too.

        Raises:
            AccessDenied: If the attempt comes too early.
        """
        with self._lock:
            now, keys = self._clock(), _keys(name, address)
            wait = max(self._of(key, now).until for key in keys) - now
            if wait > 0:
                seconds = math.ceil(wait)
                reason = f"There were too many wrong passwords; the next attempt is allowed in {seconds} s."
                remedy = f"Try again in {seconds} s, or ask an admin for a new password."
                raise AccessDenied(429, "TOO_MANY_TRIES", reason, remedy, retry_after=seconds)
            for key, free in keys.items():
                count = self._of(key, now).count + 1
                delay = min(2.0 ** min(count - free, 16), MAX_DELAY_S) if count > free else 0.0
                self._failures[key] = Failures(count, now + delay, now)
                self._failures.move_to_end(key)
            while len(self._failures) > MAX_ENTRIES:
                self._failures.popitem(last=False)

    def record_success(self, name: str, address: str) -> None:
        """Remove the failures of a name that signed in; the failures of its address stay, minus this attempt."""
        with self._lock:
            for key in _keys(name, address):
                failures = self._failures.pop(key, None)
                if failures and not key[0]:
                    self._failures[key] = Failures(failures.count - 1, 0.0, failures.last)

    def _of(self, key: Key, now: float) -> Failures:
        failures = self._failures.get(key)
        return failures if failures and now - failures.last < FORGET_AFTER_S else Failures(0, 0.0, now)


def _keys(name: str, address: str) -> dict[Key, int]:
    return {
        (name, address): FREE_PER_PAIR,
        (name, ""): FREE_PER_NAME_OR_ADDRESS,
        ("", address): FREE_PER_NAME_OR_ADDRESS,
    }
