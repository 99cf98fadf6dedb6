"""Follow the champion of a task: what it loads into, in the background, from one answer to the next."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import torch

from lib.jobs.watch import Watch
from lib.tasks.serving.weights import ServedWeights

PATIENCE_SECONDS = 3.0
"""So long an image waits for a new version that is being loaded; then the old one answers once more."""
Loaded = TypeVar("Loaded")


class Follower(Generic[Loaded]):
    """Hold what a task's served weights load into. Threads may share it.

    An answer comes from one version as a whole: a version that becomes champion is loaded in the background and answers
    from one image to the next.

    Args:
        weights: Asked before every image for the version to serve.
        load: Makes of a version what answers.
        watch: Told of a version that cannot be loaded.
        changed: Called when another version begins to answer, and when there is none any more.
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
        self._coming: tuple[ServedWeights, Future[Loaded]] | None = None
        self._loader = ThreadPoolExecutor(1, "load")
        self._used = time.monotonic()

    def prepare(self) -> None:
        """Begin to load what is served, for an image that may come; whatever is wrong, that image will be told."""
        with self._loading:
            if self._loaded is None:
                self._begin(self._weights())

    def current(self, image: str = "") -> tuple[ServedWeights, Loaded]:
        """Return the version that answers an image, and what it loaded into."""
        # A pair is replaced as one object: a thread sees the old version or the new, never a mixture.
        with self._loading:
            served, self._used = self._weights(), time.monotonic()
            if self._loaded is not None and self._loaded[0] == served:
                return self._loaded
            former, future = self._loaded, self._begin(served)
        wait([future], timeout=PATIENCE_SECONDS if former else None)
        if former and not future.done():
            return former
        with self._watch.over(served.name, image, answers=False):
            loaded = served, self._arrived(served, future)
        with self._loading:
            if former is not None and self._loaded is former:
                self._changed()
            self._loaded = loaded
        return loaded

    def used(self) -> None:
        """Note that it answered just now."""
        self._used = time.monotonic()

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Let go of what is loaded if nobody asked for so long, for a training that needs the memory.

        Returns:
            Whether there was something; the next image loads it again.
        """
        with self._loading:
            if self._loaded is None or time.monotonic() - self._used < idle_seconds:
                return False
            self._loaded = self._coming = None
            self._changed()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _begin(self, served: ServedWeights) -> "Future[Loaded]":
        if self._coming is None or self._coming[0] != served:
            self._coming = served, self._loader.submit(self._load, served)
        return self._coming[1]

    def _arrived(self, served: ServedWeights, future: "Future[Loaded]") -> Loaded:
        try:
            return future.result()
        except BaseException:
            # The next image tries anew: what failed may have been the moment and not the version.
            with self._loading:
                if self._coming == (served, future):
                    self._coming = None
            raise
