"""A thread-safe cache that computes each value once and evicts the least recently used value when it is full."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")
ENTRY_BYTES = 512
"""Bytes that an entry takes in addition to its value."""


@dataclass(frozen=True)
class CacheCounts:
    """Usage of a cache.

    Args:
        hits: Requests that were answered from the cache or by a computation that was already running.
        made: Values computed.
        held: Values in the cache now.
        held_bytes: Bytes of these values.
    """

    hits: int = 0
    made: int = 0
    held: int = 0
    held_bytes: int = 0


class Cache(Generic[Value]):
    """Values by key. Each value is computed once, also if several threads request it at the same time.

    Args:
        max_bytes: Limit for the bytes of all values; a value that is larger is returned but not stored.
        size: Returns the bytes of a value.
    """

    def __init__(self, max_bytes: int, size: Callable[[Value], int]) -> None:
        self.max_bytes, self._size = max_bytes, size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._pending: dict[Hashable, Future[Value]] = {}
        self._bytes = self._hits = self._made = 0

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, computed by `make` if it is missing.

        An exception of `make` is raised in every thread that waits for the value.
        """
        with self._lock:
            if key in self._values:
                self._hits += 1
                self._values.move_to_end(key)
                return self._values[key]
            pending = self._pending.get(key)
            if pending is None:
                own = self._pending[key] = Future()
            else:
                self._hits += 1
        return pending.result() if pending is not None else self._make(key, make, own)

    def __contains__(self, key: Hashable) -> bool:
        """Return whether the value of a key is in the cache or is being computed."""
        with self._lock:
            return key in self._values or key in self._pending

    def clear(self) -> None:
        """Remove all values. A value that is being computed is returned to the waiting threads but not stored."""
        with self._lock:
            self._values.clear()
            self._pending.clear()
            self._bytes = 0

    @property
    def counts(self) -> CacheCounts:
        """Usage until now."""
        with self._lock:
            return CacheCounts(self._hits, self._made, len(self._values), self._bytes)

    def _make(self, key: Hashable, make: Callable[[], Value], own: "Future[Value]") -> Value:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                if self._pending.get(key) is own:
                    del self._pending[key]
            own.set_exception(error)
            raise
        with self._lock:
            self._made += 1
            # After `clear` the key is no longer pending: the value belongs to a former model version.
            if self._pending.get(key) is own:
                del self._pending[key]
                self._insert(key, value)
        own.set_result(value)
        return value

    def _insert(self, key: Hashable, value: Value) -> None:
        size = self._entry_bytes(value)
        if size > self.max_bytes:
            return
        self._values[key] = value
        self._bytes += size
        while self._bytes > self.max_bytes:
            _, oldest = self._values.popitem(last=False)
            self._bytes -= self._entry_bytes(oldest)

    def _entry_bytes(self, value: Value) -> int:
        return self._size(value) + ENTRY_BYTES
