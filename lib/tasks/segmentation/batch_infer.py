"""Inference over many studies, one that fails not taking the others with it."""

import logging
from collections.abc import Callable, Collection
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from lib.data.findings import InputRejected

logger = logging.getLogger(__name__)


class OneByOne(BatchInferTask):
    """MONAI Label's batch inference on one device, one study at a time.

    Args:
        done: Studies to leave out, for they were inferred before an interruption.
        tell: Told of each study, as it is done, with how many there are in all.
    """

    def __init__(self, done: Collection[str] = (), tell: Callable[[str, int], object] = lambda *_: None) -> None:
        self._done, self._tell = frozenset(done), tell

    def get_images(self, request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies that a request names and the store has: another name would be taken for a path."""
        known = set(datastore.list_images()) - self._done
        return [image for image in super().get_images(request, datastore) if image in known]

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: Callable) -> dict[str, Any]:
        """Infer the studies that a request names.

        Args:
            request: ``model``; ``images`` is "all", "labeled", "unlabeled" or a list of ids.
            datastore: Where results are saved.
            infer: The app's inference.
        Returns:
            By study: the answer, or ``{"error": reason}``.
        """

        images = self.get_images(request, datastore)

        def guarded(one: dict[str, Any], store: Datastore) -> dict[str, Any]:
            image = one["image"]
            try:
                return infer(one, store)
            except InputRejected as error:
                logger.warning("%s is left out: %s", image, error)
                return {"error": str(error)}
            except Exception as error:
                logger.exception("%s failed", image)
                return {"error": f"{type(error).__name__}: {error}"}
            finally:
                self._tell(image, len(images) + len(self._done))

        # multi_gpu counts GPUs and divides by their number, also when there is none.
        plain = {**request, "images": images, "multi_gpu": False, "max_workers": 1}
        return super().__call__(plain, datastore, guarded)
