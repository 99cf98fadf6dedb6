"""What is made once and kept for the next click: the least recently used goes when it takes too many bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")
ENTRY_BYTES = 512
"""What an entry takes beside its value."""


@dataclass(frozen=True)
class Counts:
    """What a cache did so far, and what it holds."""

    hits: int = 0
    made: int = 0
    held: int = 0
    held_bytes: int = 0


class Cache(Generic[Value]):
    """Values by key, each made once however many ask for it at that moment. Threads share it.

    Args:
        max_bytes: What all values may take; a larger one is given and not kept.
        size: What a value takes.
    """

    def __init__(self, max_bytes: int, size: Callable[[Value], int]) -> None:
        self.max_bytes, self._size = max_bytes, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._coming: dict[Hashable, Future[Value]] = {}
        self._bytes = self._hits = self._made = 0

    def keep(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what is kept under a key, or make it; what `make` raises, it raises to all who wait for it."""
        with self._lock:
            if key in self._kept:
                self._hits += 1
                self._kept.move_to_end(key)
                return self._kept[key]
            coming = self._coming.get(key)
            if coming is None:
                mine = self._coming[key] = Future()
            else:
                self._hits += 1
        return coming.result() if coming is not None else self._make(key, make, mine)

    def __contains__(self, key: Hashable) -> bool:
        """Say whether a key is kept or being made."""
        with self._lock:
            return key in self._kept or key in self._coming

    def drop(self) -> None:
        """Forget everything; what is being made is given to those who wait and not kept."""
        with self._lock:
            self._kept.clear()
            self._coming.clear()
            self._bytes = 0

    @property
    def counts(self) -> Counts:
        """What it did so far."""
        with self._lock:
            return Counts(self._hits, self._made, len(self._kept), self._bytes)

    def _make(self, key: Hashable, make: Callable[[], Value], mine: "Future[Value]") -> Value:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                if self._coming.get(key) is mine:
                    del self._coming[key]
            mine.set_exception(error)
            raise
        with self._lock:
            self._made += 1
            # After `drop` it is no longer waited for, and belongs to a model of the past.
            if self._coming.get(key) is mine:
                del self._coming[key]
                self._insert(key, value)
        mine.set_result(value)
        return value

    def _insert(self, key: Hashable, value: Value) -> None:
        size = self._bytes_of(value)
        if size > self.max_bytes:
            return
        self._kept[key] = value
        self._bytes += size
        while self._bytes > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= self._bytes_of(oldest)

    def _bytes_of(self, value: Value) -> int:
        return self._size(value) + ENTRY_BYTES
