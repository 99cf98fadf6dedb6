"""Watch a served model: once it fails on one image after another, somebody is told to take it back."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from lib.models.sam.foundation import NoFoundation

logger = logging.getLogger(__name__)

LIMIT = 3
Alarm = Callable[[str, str], object]
"""Called with the version that fails, and why."""


class BrokenOutput(RuntimeError):
    """Raised where a model's output holds values that are no numbers."""


class Watch:
    """Counts the images in a row that one version fails on. Threads may share it.

    Args:
        alarm: Called once the limit is reached.
        limit: Different images in a row; one image that no model can stand is no reason.
    """

    def __init__(self, alarm: Alarm, limit: int = LIMIT) -> None:
        self._alarm, self._limit = alarm, limit
        self._version, self._images = "", set[str]()
        self._lock = threading.Lock()

    @contextmanager
    def over(self, version: str, image: str, *, answers: bool = True) -> Iterator[None]:
        """Watch a version at work on an image.

        Args:
            version: Its name.
            image: The image's.
            answers: Whether the end of the block is an answer; to load a version well is none.
        """
        try:
            yield
        except Exception as error:
            self.failed(version, image, error)
            raise
        if answers:
            self.succeeded(version)

    def succeeded(self, version: str) -> None:
        """Note that a version answered."""
        with self._lock:
            if version == self._version:
                self._images.clear()

    def failed(self, version: str, image: str, error: BaseException) -> None:
        """Note that a version raised an error on an image; the alarm's own failure is logged, never raised."""
        # Too little memory, or a file that is not there, is the machine's fault, and an older version needs no less.
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError | NoFoundation):
            return
        with self._lock:
            if version != self._version:
                self._version, self._images = version, set()
            self._images.add(image)
            if len(self._images) < self._limit:
                return
            self._images.clear()
        try:
            self._alarm(version, f"it failed on {self._limit} images in a row, last: {type(error).__name__}: {error}")
        except Exception:
            logger.exception("version %s fails, and could not be taken back", version)


def check_finite(logits: torch.Tensor) -> torch.Tensor:
    """Return logits as they are.

    Raises:
        BrokenOutput: If one of them is no number.
    """
    # A sum with a term that is no number is none itself, and takes a twentieth of the time; it may overflow, though.
    if not torch.isfinite(logits.sum()) and not torch.isfinite(logits).all():
        raise BrokenOutput("the model's output holds values that are no numbers")
    return logits
