"""Load the champion version of a task, and replace it in the background when another version becomes champion."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import torch

from lib.jobs.failure_watch import Watch
from lib.tasks.serving.weights import ServedWeights

LOAD_WAIT_SECONDS = 3.0
"""Longest time that a request waits for a new version to load; after it, the old version still answers."""
Loaded = TypeVar("Loaded")


class Follower(Generic[Loaded]):
    """Hold the object loaded from a task's served weights, for example a predictor; thread-safe.

    A version that becomes champion is loaded in the background. Each image is processed by one version only.

    Args:
        weights: Returns the version to serve; called before each image.
        load: Loads a version and returns the object that processes images.
        watch: Receives the errors of a version that cannot be loaded.
        changed: Called when another version replaces the loaded one, and when the loaded one is released.
    """

    def __init__(
        self,
        weights: Callable[[], ServedWeights],
        load: Callable[[ServedWeights], Loaded],
        watch: Watch,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._weights, self._load, self._watch, self._changed = weights, load, watch, changed
        self._loading = threading.Lock()
        self._loaded: tuple[ServedWeights, Loaded] | None = None
        self._pending: tuple[ServedWeights, Future[Loaded]] | None = None
        self._loader = ThreadPoolExecutor(1, "load")
        self._used = time.monotonic()

    def prepare(self) -> None:
        """Start to load the served version before the first image; that image's request reports any error."""
        with self._loading:
            if self._loaded is None:
                self._begin(self._weights())

    def current(self, image: str = "") -> tuple[ServedWeights, Loaded]:
        """Return the version to process an image with, and the object loaded from it."""
        # Version and object are replaced together as one tuple, so a thread never sees a mixture of two versions.
        with self._loading:
            served, self._used = self._weights(), time.monotonic()
            if self._loaded is not None and self._loaded[0] == served:
                return self._loaded
            former, future = self._loaded, self._begin(served)
        wait([future], timeout=LOAD_WAIT_SECONDS if former else None)
        if former and not future.done():
            return former
        with self._watch.observe(served.name, image, is_answer=False):
            loaded = served, self._wait_for(served, future)
        with self._loading:
            if former is not None and self._loaded is former:
                self._changed()
            self._loaded = loaded
        return loaded

    def mark_used(self) -> None:
        """Restart the idle time: the loaded version has just processed an image."""
        self._used = time.monotonic()

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Free the memory of the loaded version for a training.

        Args:
            idle_seconds: Least time since the last image; a version used later than that stays loaded.
        Returns:
            Whether a version was released; the next image loads it again.
        """
        with self._loading:
            if self._loaded is None or time.monotonic() - self._used < idle_seconds:
                return False
            self._loaded = self._pending = None
            self._changed()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _begin(self, served: ServedWeights) -> "Future[Loaded]":
        if self._pending is None or self._pending[0] != served:
            self._pending = served, self._loader.submit(self._load, served)
        return self._pending[1]

    def _wait_for(self, served: ServedWeights, future: "Future[Loaded]") -> Loaded:
        try:
            return future.result()
        except BaseException:
            # The next image loads the version again: the error may be temporary.
            with self._loading:
                if self._pending == (served, future):
                    self._pending = None
            raise
