"""Batch inference over many studies; a study that fails does not stop the others."""

import logging
from collections.abc import Callable, Collection
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from lib.data.findings import InputRejected

logger = logging.getLogger(__name__)


class SequentialBatchInfer(BatchInferTask):
    """MONAI Label's batch inference, on one device, one study after the other.

    Args:
        done: Studies to skip, because they were inferred before an interruption.
        on_study_done: Called after every study, with its name and the total number of studies.
    """

    def __init__(
        self, done: Collection[str] = (), on_study_done: Callable[[str, int], object] = lambda *_: None
    ) -> None:
        self._done, self._on_study_done = frozenset(done), on_study_done

    def get_images(self, request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the requested studies that exist in the store; MONAI Label would use any other name as a path."""
        known = set(datastore.list_images()) - self._done
        return [image for image in super().get_images(request, datastore) if image in known]

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable) -> dict[str, Any]:
        """Infer the studies that a request names.

        Args:
            request: ``model``; ``images`` is "all", "labeled", "unlabeled" or a list of study names.
            datastore: Store for the results.
            infer: Inference function of the app.
        Returns:
            By study: the result, or ``{"error": reason}``.
        """

        images = self.get_images(request, datastore)

        def guarded(one: dict[str, Any], store: Datastore) -> dict[str, Any]:
            image = one["image"]
            try:
                return infer(one, store)
            except InputRejected as error:
                logger.warning("batch inference skips %s: %s", image, error)
                return {"error": str(error)}
            except Exception as error:
                logger.exception("batch inference of %s failed", image)
                return {"error": f"{type(error).__name__}: {error}"}
            finally:
                self._on_study_done(image, len(images) + len(self._done))

        # With multi_gpu, MONAI Label divides by the number of GPUs, which may be 0.
        plain = {**request, "images": images, "multi_gpu": False, "max_workers": 1}
        return super().__call__(plain, datastore, guarded)
