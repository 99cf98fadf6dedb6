"""Strategies that rank by stored scores; a request reads scores and computes none."""

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from lib.records.leases import Leases
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.strategies.draw import request_rng
from lib.tasks.strategies.leasing import ANNOTATOR_KEY, LeasingStrategy
from lib.tasks.strategies.rankings import ORDERS, RankingRequest, foreground_random

DESCRIPTIONS = {
    "foreground_random": "A random study, weighted by its predicted volume of a random class",
    "entropy": "The study whose labels are most uncertain",
    "mutual_information": "The study with the largest disagreement between several predictions",
    "topology": "The study whose components, loops and centrelines are least certain",
    "diversity": "The study least similar to those that are labelled or being labelled",
    "entropy_diversity": "Of the most uncertain quarter, the study least similar to those labelled or being labelled",
}


class ScoredStrategy(LeasingStrategy):
    """Rank by the scores of one task: of the served version, or of an older one until the new scores are complete.

    Without enough scores, studies are drawn at random. If scores are missing, a job that computes them is submitted.
    The answer has the number of ``scored`` cases ``of`` the total, whether some are ``pending``, and the version of the
    ranking (``ranked_by``).

    Args:
        order: Key of `ORDERS`.
        leases: Leases of studies to annotators.
        scores: Scores of the task.
    """

    def __init__(self, order: str, leases: Leases, scores: CaseScores) -> None:
        super().__init__(f"{DESCRIPTIONS[order]} ({scores.task.name})", leases)
        self.order, self.scores = order, scores

    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies in the order in which to label them.

        Args:
            images: Studies without a final label.
            request: Optional ``label``, the only class to consider, and ``seed``, which makes draws reproducible.
            datastore: The studies.
        Raises:
            MONAILabelException: If the task does not have the class.
        """
        spec, label = self.scores.task.scores, str(request.get("label") or "")
        assert spec is not None
        if label and label not in self.scores.task.labels:
            labels = ", ".join(self.scores.task.labels)
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"The task has no label '{label}'; name one of: {labels}"
            )
        status = self.scores.status(datastore)
        if status.pending:
            self.scores.submit_missing(status.served, origin=str(request.get(ANNOTATOR_KEY) or ""))
        ranking = RankingRequest(
            images=images,
            scores=status.scores,
            taken=self.taken(images, request, datastore),
            aggregation=spec.over,
            label=label,
            rng=request_rng(request, images),
        )
        return ORDERS[self.order](ranking) if status.version else foreground_random(ranking)

    def extra_fields(self, datastore: Datastore) -> dict[str, Any]:
        """Return the status of the scores."""
        return self.scores.status(datastore).summary
