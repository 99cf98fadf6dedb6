"""Choose the first studies to label, before a model exists, by embeddings that need no labels."""

from collections.abc import Callable
from typing import Any

from monailabel.interfaces.datastore import Datastore

from lib.evaluation.selection.typicality import typical_cases
from lib.records.leases import Leases
from lib.records.scores import ScoreSource
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.strategies.draw import draw_by_weight, request_rng
from lib.tasks.strategies.embedder import Embedder, embedding_source
from lib.tasks.strategies.leasing import ANNOTATOR_KEY, LeasingStrategy


class CaseEmbeddings(CaseScores):
    """Embeddings of all cases by the encoder of a click task; computed, stored and read as scores are."""

    @property
    def pool(self) -> int:
        """Number of cases to embed: 0, which stands for all."""
        return 0

    @property
    def name(self) -> str:
        """Name of this scoring method in requests and jobs."""
        return f"{self.task.name}_embeddings"

    def source(self) -> ScoreSource:
        """Return the source of new embeddings: the published weights and the settings.

        Raises:
            NoWeights: If the published weights are missing.
        """
        return embedding_source(self.task)

    def scorer(self, device: str) -> Embedder:
        """Return the object that embeds images, on a device; errors as for `source`."""
        return Embedder(self.task, device=device)


class ColdStart(LeasingStrategy):
    """Offer the most typical study of each cluster of images; another strategy follows when a model is published.

    Until half of the studies are embedded, studies are drawn at random. If embeddings are missing, a job that computes
    them is submitted. The answer has the fields of the scored strategies, and a ``note`` if studies are drawn.

    Args:
        leases: Leases of studies to annotators.
        embeddings: Embeddings of the studies.
        after: Strategy that follows when a version is published.
        is_published: Returns whether a version is published.
    """

    def __init__(
        self, leases: Leases, embeddings: CaseEmbeddings, after: LeasingStrategy, is_published: Callable[[], bool]
    ) -> None:
        super().__init__("The most typical study of each group of similar images, before a model is published", leases)
        self.embeddings, self.after, self.is_published = embeddings, after, is_published

    def ranked(self, images: list[str], request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the studies in the order in which to label them.

        Args:
            images: Studies without a final label.
            request: Optional ``seed``, which makes draws reproducible.
            datastore: The studies.
        """
        if self.is_published():
            return self.after.ranked(images, request, datastore)
        status = self.embeddings.status(datastore)
        if status.pending:
            self.embeddings.submit_missing(status.served, origin=str(request.get(ANNOTATOR_KEY) or ""))
        vectors = {name: score.embedding for name, score in sorted(status.scores.items()) if score.embedding}
        known, taken = list(vectors), set(self.taken(images, request, datastore))
        order = typical_cases(list(vectors.values()), [at for at, name in enumerate(known) if name in taken])
        first = [known[index] for index in order]
        rest = [image for image in images if image not in first]
        return [*first, *draw_by_weight(rest, {}, request_rng(request, images))]

    def extra_fields(self, datastore: Datastore) -> dict[str, Any]:
        """Return the status of the embeddings, or the fields of the strategy that follows."""
        if self.is_published():
            return self.after.extra_fields(datastore)
        status = self.embeddings.status(datastore)
        if status.version:
            return status.summary
        note = f"drawn at random: {status.scored} of {status.of} studies are embedded, and half of them are needed"
        if not status.served:
            note = "drawn at random: no published weights to embed the studies with; the server's log says what to do"
        return status.summary | {"note": note}
