"""Offer every study to one annotator at a time."""

import logging
from abc import abstractmethod
from datetime import datetime
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.records.database import LedgerUnavailable
from lib.records.leases import Leases

logger = logging.getLogger(__name__)

ANNOTATOR_KEY = "client_id"
"""Key of the annotator in a request."""


class LeasingStrategy(Strategy):
    """Offer the first study of a ranking that is not leased to another annotator.

    Args:
        description: One line for viewers.
        leases: Leases of studies to annotators.
    """

    def __init__(self, description: str, leases: Leases) -> None:
        super().__init__(description)
        self.leases = leases

    @abstractmethod
    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies without a final label, in the order in which to label them."""

    def taken(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies that are labelled or leased to another annotator, sorted.

        Args:
            images: Studies without a final label.
            request: ``client_id`` is the annotator.
            datastore: The studies.
        """
        return sorted({*set(datastore.list_images()).difference(images), *self._leased_to_others(request)})

    def _leased_to_others(self, request: dict[str, Any]) -> list[str]:
        annotator = str(request.get(ANNOTATOR_KEY) or "")
        try:
            return [lease.image for lease in self.leases.list_active() if lease.who != annotator]
        except LedgerUnavailable:
            return []

    def extra_fields(self, datastore: Datastore) -> dict[str, Any]:
        """Return additional fields of the answer; none by default."""
        return {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Return the next study for an annotator.

        Args:
            request: ``client_id`` is the annotator.
            datastore: The studies.
        Returns:
            ``id`` and ``remaining``; None if every study has a final label or is leased to another annotator.
        """
        images = sorted(datastore.get_unlabeled_images())
        order = self.ranked(images, request, datastore)
        while order:
            image = self._lease_first(str(request.get(ANNOTATOR_KEY) or ""), order)
            if image is None:
                return None
            if image in datastore.get_unlabeled_images():
                logger.info("next study: %s, one of %d without a final label", image, len(images))
                return {"id": image, "remaining": len(images), **self.extra_fields(datastore)}
            # Another annotator saved a final label after the list of studies was read.
            self.leases.release(image)
            order.remove(image)
        return None

    def _lease_first(self, annotator: str, order: list[str]) -> str | None:
        try:
            return self.leases.lease_next(annotator, order)
        except LedgerUnavailable as error:
            # Two annotators may now get the same study; the labels of both are stored.
            logger.warning("study %s is offered without a lease: %s", order[0], error)
            return order[0]


def no_study_answer(unlabelled: int, leases: Leases) -> dict[str, Any]:
    """Return the answer if no study can be offered, with the reason.

    Args:
        unlabelled: Number of studies without a final label.
        leases: Leases of studies to annotators.
    """
    message = "every study in the store has a final label: add studies, or open a study by hand to correct its label"
    if unlabelled:
        ends = [lease.until for lease in leases.list_active()]
        message = f"all studies without a final label ({unlabelled}) are with other annotators"
        if ends:
            message += (
                f"; the first lease ends at {datetime.fromtimestamp(min(ends)):%H:%M}, unless its annotator renews it"
            )
    return {"id": "", "remaining": unlabelled, "message": message}
