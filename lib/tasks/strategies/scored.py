"""Strategies that rank by what a version made of each case; a request looks up, and computes nothing."""

from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from lib.records.engine import LedgerUnavailable
from lib.records.leases import Leases
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.strategies.draw import generator
from lib.tasks.strategies.leasing import ASKED_BY, Leasing
from lib.tasks.strategies.orders import ORDERS, Question, foreground_random

DESCRIPTIONS = {
    "foreground_random": "A random study, by how much of a random class was found in it",
    "entropy": "The study whose labels are most uncertain",
    "mutual_information": "The study about which several answers contradict each other most",
    "topology": "The study whose components, loops and centrelines are least certain",
    "diversity": "The study least like those that are labelled or being labelled",
    "entropy_diversity": "Among the most uncertain quarter, the study least like those labelled or being labelled",
}


class Scored(Leasing):
    """Rank by the scores of one task: those of the served version, or an older one's until they are there.

    Without enough, draw; whatever is missing, submit the job that computes it. The answer says so: ``scored`` cases
    ``of`` those that the served version is to score, whether some are ``pending``, and the version ``ranked_by``.

    Args:
        order: Key of `ORDERS`.
        leases: Which study is with whom.
        scores: The task's.
    """

    def __init__(self, order: str, leases: Leases, scores: CaseScores) -> None:
        super().__init__(f"{DESCRIPTIONS[order]} ({scores.task.name})", leases)
        self.order, self.scores = order, scores

    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies, the one to label first in front.

        Args:
            images: Those without a final label.
            request: ``label`` names a class to look at alone; ``seed`` makes what is drawn the same again.
            datastore: The studies.
        Raises:
            MONAILabelException: If the task has no such class.
        """
        spec, label = self.scores.task.scores, str(request.get("label") or "")
        assert spec is not None
        if label and label not in self.scores.task.labels:
            there = ", ".join(self.scores.task.labels)
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"There is no label '{label}' here; there is: {there}"
            )
        known = self.scores.known(datastore)
        if known.pending:
            self.scores.ask(known.served, origin=str(request.get(ASKED_BY) or ""))
        settled = {*set(datastore.list_images()).difference(images), *self._with_others(request)}
        question = Question(
            images=images,
            scores=known.scores,
            settled=sorted(settled),
            over=spec.over,
            label=label,
            rng=generator(request, images),
        )
        return ORDERS[self.order](question) if known.version else foreground_random(question)

    def told(self, datastore: Datastore) -> dict[str, Any]:
        """Return how far the scores are."""
        return self.scores.known(datastore).told

    def _with_others(self, request: dict[str, Any]) -> list[str]:
        who = str(request.get(ASKED_BY) or "")
        try:
            return [lease.image for lease in self.leases.held() if lease.who != who]
        except LedgerUnavailable:
            return []
