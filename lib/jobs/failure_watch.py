"""Watch a served version: raise an alarm after it fails on several images in a row."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from lib.models.sam.foundation import NoFoundation

logger = logging.getLogger(__name__)

MAX_FAILED_IMAGES = 3
Alarm = Callable[[str, str], object]
"""Function that is called with the name of the failing version and the reason."""


class BrokenOutput(RuntimeError):
    """Raised if the output of a model has NaN or infinite values."""


class Watch:
    """Counts the different images in a row on which one version fails. Threads may share it.

    Args:
        alarm: Called when the limit is reached.
        limit: Number of different images in a row; repeated failures on the same image count once.
    """

    def __init__(self, alarm: Alarm, limit: int = MAX_FAILED_IMAGES) -> None:
        self._alarm, self._limit = alarm, limit
        self._version, self._images = "", set[str]()
        self._lock = threading.Lock()

    @contextmanager
    def observe(self, version: str, image: str, *, is_answer: bool = True) -> Iterator[None]:
        """Count the failures in a row of a model version; a block that raises is a failure, an answer resets the count.

        After failures on enough different images, the former version is served again.

        Args:
            version: Name of the version.
            image: Name or hash of the image; several failures on one image count once.
            is_answer: Whether the block ends with an answer, which resets the count; False for loading a version.
        """
        try:
            yield
        except Exception as error:
            self._record_failure(version, image, error)
            raise
        if is_answer:
            self._record_success(version)

    def _record_success(self, version: str) -> None:
        with self._lock:
            if version == self._version:
                self._images.clear()

    def _record_failure(self, version: str, image: str, error: BaseException) -> None:
        # Too little memory or a missing file is a fault of the machine, and an older version needs the same.
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
            logger.exception("version %s fails, and it cannot be rolled back", version)


def check_finite(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits unchanged.

    Raises:
        BrokenOutput: If a logit is NaN or infinite.
    """
    # The sum is NaN or infinite if a term is, and takes a twentieth of the time. It may also overflow: then all are
    # checked.
    if not torch.isfinite(logits.sum()) and not torch.isfinite(logits).all():
        raise BrokenOutput("the model's output has values that are no numbers (NaN or infinity)")
    return logits
