"""Which study to label next, and with whom the others are."""

import logging
from abc import abstractmethod
from datetime import datetime
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.records.engine import LedgerUnavailable
from lib.records.leases import Leases

logger = logging.getLogger(__name__)

ASKED_BY = "client_id"
"""What a request calls the annotator."""


class Leasing(Strategy):
    """Give the best study that is with nobody else.

    Args:
        description: One line for viewers.
        leases: Which study is with whom.
    """

    def __init__(self, description: str, leases: Leases) -> None:
        super().__init__(description)
        self.leases = leases

    @abstractmethod
    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies without a final label, the one to label first in front."""

    def told(self, datastore: Datastore) -> dict[str, Any]:
        """Return what else an answer says; nothing unless there is something to say."""
        return {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Return the next study for whoever asks.

        Args:
            request: ``client_id`` is the annotator.
            datastore: The studies.
        Returns:
            ``id`` and ``remaining``; None when every study has a final label, or is with somebody else.
        """
        images = sorted(datastore.get_unlabeled_images())
        order = self.ranked(images, request, datastore)
        while order:
            image = self._offered(str(request.get(ASKED_BY) or ""), order)
            if image is None:
                return None
            if image in datastore.get_unlabeled_images():
                logger.info("next study: %s, one of %d without a final label", image, len(images))
                return {"id": image, "remaining": len(images), **self.told(datastore)}
            # Somebody saved it between the list and the lease.
            self.leases.release(image)
            order.remove(image)
        return None

    def _offered(self, who: str, order: list[str]) -> str | None:
        try:
            return self.leases.offer(who, order)
        except LedgerUnavailable as error:
            # Work goes on; two may get one study, and both their labels are kept.
            logger.warning("a study is given without a lease: %s", error)
            return order[0]


def nothing_left(unlabelled: int, leases: Leases) -> dict[str, Any]:
    """Return the answer where nobody can be given a study, with the reason.

    Args:
        unlabelled: Studies without a final label.
        leases: Which of them is with whom.
    """
    told = "every study in the store has a final label: add studies, or open one by hand to correct it"
    if unlabelled:
        ends = [lease.until for lease in leases.held()]
        told = f"all studies without a final label ({unlabelled}) are with other annotators"
        if ends:
            told += f"; the first is free again at {datetime.fromtimestamp(min(ends)):%H:%M}, unless it is worked on"
    return {"id": "", "remaining": unlabelled, "message": told}
