"""Scores of a task's cases: read the stored scores, and submit the job that computes missing ones."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, UNFINISHED, Job
from lib.records.database import LedgerUnavailable
from lib.records.scores import CaseScore, Scores, ScoreSource
from lib.records.versions import STARTER
from lib.tasks.serving.weights import NoWeights
from lib.tasks.spec import TaskSpec
from lib.tasks.store.folder import FolderStore
from lib.tasks.strategies.score_cases import CaseScorer, Study, file_stamp, select_pool
from lib.tasks.strategies.scorer import Scorer, current_score_source

logger = logging.getLogger(__name__)

SCORING = "scoring"
MIN_SCORED_SHARE = 0.5
"""Share of cases that need a score before scores rank; with fewer, the case scored first would be labelled first."""


@dataclass(frozen=True)
class ScoreStatus:
    """Scores of a store's cases, and how many the served version has scored.

    Args:
        version: Version whose scores rank; empty if there are not enough scores.
        scores: Scores of this version, by case.
        served: Served version; empty if there is none.
        scored: Number of cases without a label that the served version has scored or failed to score.
        of: Number of cases without a label that the served version should score.
    """

    version: str
    scores: dict[str, CaseScore]
    served: str
    scored: int
    of: int

    @property
    def pending(self) -> bool:
        """Whether scores of the served version are missing."""
        return self.scored < self.of

    @property
    def summary(self) -> dict[str, Any]:
        """Fields for the answer to a request."""
        return {"scored": self.scored, "of": self.of, "pending": self.pending, "ranked_by": self.version}


class CaseScores(ScoringMethod):
    """Scores of the cases of one task; this class reads them, and a job of kind "scoring" computes them.

    Args:
        app_dir: Folder of the app.
        task: Task with scores.
        queue: Job queue of the app.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec, queue: Queue) -> None:
        super().__init__(f"Uncertainty, topology and embedding of each case, for the strategies of {task.name}")
        self.app_dir, self.task, self.queue, self.scores = Path(app_dir), task, queue, Scores(app_dir)

    @property
    def name(self) -> str:
        """Name of this scoring method in requests and jobs."""
        return f"{self.task.name}_scores"

    @property
    def pool(self) -> int:
        """Number of cases that a version scores; 0 for all."""
        assert self.task.scores is not None, "only tasks with scores are scored"
        return self.task.scores.pool

    def source(self) -> ScoreSource:
        """Return the source of new scores: the served version and the settings.

        Raises:
            NoWeights: If no version of the task can be served.
            SchemaMismatch: If the served version has other labels than app.toml declares.
        """
        return current_score_source(self.app_dir, self.task)

    def scorer(self, device: str) -> CaseScorer:
        """Return the object that computes the scores, on a device; errors as for `source`."""
        return Scorer(self.app_dir, self.task, device=device)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Return the status of the scores; `lib.tasks.jobs.kinds` computes scores."""
        return self.status(datastore).summary

    def status(self, datastore: Datastore) -> ScoreStatus:
        """Return the scores that rank now: of the served version, or of an older version that has scored more cases."""
        try:
            source = self.source()
        except (NoWeights, ValueError) as error:
            logger.warning("no scores for the cases of %s: %s", self.task.name, error)
            return ScoreStatus("", {}, "", 0, 0)
        unlabelled = datastore.get_unlabeled_images()
        pool, scores = self._pool(datastore, source), self._current_scores(source, datastore)
        scored = sum(image in scores and scores[image].done for image in pool)
        best, version = scores, source.version
        if scored < len(pool):
            for older in self.scores.versions(source.task, source.settings):
                older_scores = self._current_scores(ScoreSource(source.task, older, source.settings), datastore)
                if _count(older_scores, unlabelled) > _count(best, unlabelled):
                    best, version = older_scores, older
        if _count(best, unlabelled) < max(1, MIN_SCORED_SHARE * len(pool)):
            best, version = {}, ""
        return ScoreStatus(version, best, source.version, scored, len(pool))

    def studies(self, datastore: Datastore, source: ScoreSource) -> list[Study]:
        """Return the studies for a scoring job: unlabelled studies first, then the labelled ones."""
        pool = self._pool(datastore, source)
        labelled = sorted(set(datastore.list_images()) - set(datastore.get_unlabeled_images()))

        def study(image: str, labelled: bool) -> Study:
            return Study(image, stamp(datastore, image), lambda: datastore.get_image_uri(image), labelled)

        return [*(study(image, False) for image in pool), *(study(image, True) for image in labelled)]

    def submit_missing(self, served: str, *, origin: str) -> Job | None:
        """Submit a job for missing scores, unless a job for this version is queued, running, failed or was stopped.

        After a failed or stopped job, a person submits the next one by ``POST /scoring/{name}``.

        Args:
            served: The served version.
            origin: User who requests the scores, or "policy".
        Returns:
            The job; None if none was submitted.
        """
        try:
            last = [job for job in self.queue.jobs.list(SCORING) if job.subject == self.name][-1:]
            if last and last[0].status not in (DONE, *UNFINISHED) and last[0].request.get("version") == served:
                return None
            return self.queue.submit(SCORING, self.name, self.request(served), origin=origin, once=True)
        except LedgerUnavailable as error:
            logger.warning("no scoring job submitted for %s: %s", self.task.name, error)
            return None

    def request(self, served: str) -> dict[str, Any]:
        """Return the request of a scoring job."""
        return {"method": self.name, "version": served}

    def submit_for_new_version(self) -> Job | None:
        """Submit one job when a new version is served; the starter version is scored only after a user's request."""
        try:
            source = self.source()
        except (NoWeights, ValueError):
            return None
        submitted = [job.request.get("version") for job in self.queue.jobs.list(SCORING) if job.subject == self.name]
        scored = source.version in self.scores.versions(source.task, source.settings)
        if scored or source.version in submitted or (source.version == STARTER and not submitted):
            return None
        return self.submit_missing(source.version, origin="policy")

    def _pool(self, datastore: Datastore, source: ScoreSource) -> list[str]:
        unlabelled = sorted(datastore.get_unlabeled_images())
        return select_pool(datastore.list_images(), unlabelled, source, self.pool)

    def _current_scores(self, source: ScoreSource, datastore: Datastore) -> dict[str, CaseScore]:
        """Return the scores of files that have not changed since they were scored."""
        known, images = self.scores.by_image(source), set(datastore.list_images())
        return {
            image: score
            for image, (scored_stamp, score) in known.items()
            if image in images and scored_stamp == stamp(datastore, image)
        }


def stamp(datastore: Datastore, image: str) -> str:
    """Return a string that changes with the file of a case; empty for an archive, whose series never change."""
    return file_stamp(datastore.get_image_uri(image)) if isinstance(datastore, FolderStore) else ""


def _count(scores: dict[str, CaseScore], images: Iterable[str]) -> int:
    return sum(image in scores and scores[image].numbers is not None for image in images)
