"""Which study to label next."""

import logging
import random
import time
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

logger = logging.getLogger(__name__)

NOTHING_LEFT = {
    "id": "",
    "remaining": 0,
    "message": "every study in the store has a final label: add studies, or open one by hand to correct it",
}


class RandomUnlabelled(Strategy):
    """Draw a study without a final label, those served longest ago more often."""

    def __init__(self) -> None:
        super().__init__("A random study without a final label")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Return the draw.

        Args:
            request: ``strategy`` is the name under which serving times are kept.
            datastore: The studies.
        Returns:
            ``id`` and ``remaining``; None when every study has a final label.
        """
        images = sorted(datastore.get_unlabeled_images())
        if not images:
            return None
        now = int(time.time())
        # At least 1: a study served within this second would else have no weight, and alone no draw.
        weights = [max(now - self._served(datastore, image, request.get("strategy", "random")), 1) for image in images]
        image = random.choices(images, weights=weights)[0]
        logger.info("next study: %s, one of %d without a final label", image, len(images))
        return {"id": image, "remaining": len(images)}

    @staticmethod
    def _served(datastore: Datastore, image: str, strategy: str) -> int:
        return datastore.get_image_info(image).get("strategy", {}).get(strategy, {}).get("ts", 0)
