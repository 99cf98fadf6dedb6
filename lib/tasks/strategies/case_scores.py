"""What is known of a task's cases when somebody asks for the next one, and the job that finds out the rest."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, GOING, Job
from lib.records.engine import LedgerUnavailable
from lib.records.scores import CaseScore, Maker, Scores
from lib.records.versions import STARTER
from lib.tasks.serving.weights import NoWeights
from lib.tasks.spec import TaskSpec
from lib.tasks.store.folder import FolderStore
from lib.tasks.strategies.score_cases import Study, file_stamp, pooled
from lib.tasks.strategies.scorer import maker_of

logger = logging.getLogger(__name__)

SCORING = "scoring"
ENOUGH_SHARE = 0.5
"""Scores rank once so many cases have one: before, whichever was scored first would be labelled first."""


@dataclass(frozen=True)
class Known:
    """What is known of a store's cases.

    Args:
        version: The version whose scores rank; empty if there are none.
        scores: What it says, by case.
        served: The version that is served; empty if none is.
        scored: Cases without a label that the served one has scored, or could not.
        of: Cases without a label that it is to score.
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
    def told(self) -> dict[str, Any]:
        """What an answer says of it."""
        return {"scored": self.scored, "of": self.of, "pending": self.pending, "ranked_by": self.version}


class CaseScores(ScoringMethod):
    """The scores of one task: read here, computed by a job of kind "scoring" only.

    Args:
        app_dir: The app's folder.
        task: A task with scores.
        queue: The app's.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec, queue: Queue) -> None:
        super().__init__(f"Uncertainty, topology and embedding of each case, for the strategies of {task.name}")
        self.app_dir, self.task, self.queue, self.scores = Path(app_dir), task, queue, Scores(app_dir)

    @property
    def name(self) -> str:
        """What requests and the queue call it."""
        return f"{self.task.name}_scores"

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Return what is known; `lib.tasks.jobs.kinds` does the computing."""
        return self.known(datastore).told

    def known(self, datastore: Datastore) -> Known:
        """Return the scores that rank now: the served version's, or an older one's that has more of them; or none."""
        try:
            maker = maker_of(self.app_dir, self.task)
        except (NoWeights, ValueError) as error:
            logger.warning("the cases of %s have no scores: %s", self.task.name, error)
            return Known("", {}, "", 0, 0)
        unlabelled = datastore.get_unlabeled_images()
        wanted, scores = self._wanted(datastore, maker), self._of(maker, datastore)
        scored = sum(image in scores and scores[image].done for image in wanted)
        best, version = scores, maker.version
        if scored < len(wanted):
            for older in self.scores.versions(maker.task, maker.settings):
                theirs = self._of(Maker(maker.task, older, maker.settings), datastore)
                if _count(theirs, unlabelled) > _count(best, unlabelled):
                    best, version = theirs, older
        if _count(best, unlabelled) < max(1, ENOUGH_SHARE * len(wanted)):
            best, version = {}, ""
        return Known(version, best, maker.version, scored, len(wanted))

    def studies(self, datastore: Datastore, maker: Maker) -> list[Study]:
        """Return what a job has to look at: cases without a label first, then the labelled ones."""
        wanted = self._wanted(datastore, maker)
        labelled = sorted(set(datastore.list_images()) - set(datastore.get_unlabeled_images()))

        def study(image: str, labelled: bool) -> Study:
            return Study(image, stamp(datastore, image), lambda: datastore.get_image_uri(image), labelled)

        return [*(study(image, False) for image in wanted), *(study(image, True) for image in labelled)]

    def ask(self, served: str, *, origin: str) -> Job | None:
        """Submit a job for the scores that are missing, unless one is under way or ended without success.

        What failed or was stopped waits for a person, who submits it by ``POST /scoring/{name}``.

        Args:
            served: The version that is served.
            origin: Who asks.
        Returns:
            The job; None if none is submitted.
        """
        try:
            last = [job for job in self.queue.jobs.list(SCORING) if job.subject == self.name][-1:]
            if last and last[0].status not in (DONE, *GOING) and last[0].request.get("version") == served:
                return None
            return self.queue.submit(SCORING, self.name, self.request(served), origin=origin, once=True)
        except LedgerUnavailable as error:
            logger.warning("the scores of %s are not asked for: %s", self.task.name, error)
            return None

    def request(self, served: str) -> dict[str, Any]:
        """Return what a job is asked for."""
        return {"method": self.name, "version": served}

    def heed_version(self) -> Job | None:
        """Submit a job when a new version has come into service, once; what came with the app waits to be asked for."""
        try:
            maker = maker_of(self.app_dir, self.task)
        except (NoWeights, ValueError):
            return None
        asked = [job.request.get("version") for job in self.queue.jobs.list(SCORING) if job.subject == self.name]
        scored = maker.version in self.scores.versions(maker.task, maker.settings)
        if scored or maker.version in asked or (maker.version == STARTER and not asked):
            return None
        return self.ask(maker.version, origin="policy")

    def _wanted(self, datastore: Datastore, maker: Maker) -> list[str]:
        assert self.task.scores is not None
        unlabelled = sorted(datastore.get_unlabeled_images())
        return pooled(datastore.list_images(), unlabelled, maker, self.task.scores.pool)

    def _of(self, maker: Maker, datastore: Datastore) -> dict[str, CaseScore]:
        """Return the scores of files that are as they were."""
        known, there = self.scores.of(maker), set(datastore.list_images())
        return {
            image: score for image, (told, score) in known.items() if image in there and told == stamp(datastore, image)
        }


def stamp(datastore: Datastore, image: str) -> str:
    """Return what changes when a case's file does; a series of an archive never does."""
    return file_stamp(datastore.get_image_uri(image)) if isinstance(datastore, FolderStore) else ""


def _count(scores: dict[str, CaseScore], images: Iterable[str]) -> int:
    return sum(image in scores and scores[image].numbers is not None for image in images)
