"""Score the cases of a task for its strategies: a job's work, that goes on where it was interrupted."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lib.data.cases import find_cases
from lib.data.findings import InputRejected
from lib.records.card import hash_file
from lib.records.scores import CaseScore, Maker, Scores
from lib.tasks.spec import SEGMENTATION, TaskSpec, require_kind
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.scorer import Progress, Scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """A case that may be scored.

    Args:
        name: What the store calls it.
        stamp: Changes when its file does; empty where files never change.
        find: Returns its file, which may have to come from an archive.
        labelled: Whether it has a final label: then its embedding alone is wanted.
    """

    name: str
    stamp: str
    find: Callable[[], str | Path]
    labelled: bool = False


@dataclass(frozen=True)
class Standing:
    """Where the work stands.

    Args:
        done: Studies done, those of former runs included.
        of: Studies in all.
        fraction: How much of the work is done.
        eta_seconds: Time left; None before the first study.
    """

    done: int
    of: int
    fraction: float
    eta_seconds: float | None

    def __str__(self) -> str:
        return f"study {min(self.done + 1, self.of)} of {self.of}"


def file_stamp(path: str | Path) -> str:
    """Return what changes when a file is replaced; the same for one that is not there."""
    try:
        facts = Path(path).stat()
    except OSError:
        return "gone"
    return f"{facts.st_size} {facts.st_mtime_ns}"


def score_folder(
    app_dir: str | Path, task: TaskSpec, studies: str | Path, *, device: str, tell: Callable[[Standing], object]
) -> dict[str, Any]:
    """Score every study of a folder, and return the numbers; a server of that folder ranks by them as well.

    Args:
        app_dir: The app's folder.
        task: A task that segments; where app.toml says nothing of scores, the defaults hold.
        studies: Folder of images, labels in ``labels/final``.
        device: Where the network runs.
        tell: Told where the work stands.
    Returns:
        What `ScoreCases.run` returns, and ``cases``: numbers by study, or ``{"error": reason}``.
    """
    require_kind(task, SEGMENTATION, "score cases")
    scorer = Scorer(app_dir, replace(task, scores=task.scores or ScoreSpec()), device=device)
    found = [
        Study(case.id, file_stamp(case.image), lambda case=case: case.image, labelled=case.label is not None)
        for case in find_cases(studies)
    ]
    work = ScoreCases(Scores(app_dir), scorer, tell)
    told, known = work.run(found), work.scores.of(scorer.maker)
    cases = {study.name: known[study.name][1] for study in found if not study.labelled and study.name in known}
    return told | {"cases": {name: each.numbers or {"error": each.error} for name, each in cases.items()}}


def pooled(images: Iterable[str], unlabelled: Sequence[str], maker: Maker, pool: int) -> list[str]:
    """Return the cases without a label that a version scores: all of a small store, of a large one those drawn by lot.

    The lot falls over all cases, so that a case that gets its label draws in no other one; the next version draws anew.

    Args:
        images: All cases of the store.
        unlabelled: Those without a final label.
        maker: Who scores.
        pool: So many; 0 for all.
    """
    if not pool or len(unlabelled) <= pool:
        return list(unlabelled)

    def lot(image: str) -> str:
        return hashlib.sha256(f"{maker.task}/{maker.version}/{image}".encode()).hexdigest()

    drawn = set(sorted(images, key=lot)[:pool])
    return [image for image in unlabelled if image in drawn] or sorted(unlabelled, key=lot)[:pool]


@dataclass
class ScoreCases:
    """Scores studies one after the other.

    Args:
        scores: Where they are kept.
        scorer: What scores.
        tell: Told where the work stands, also within a study.
        gives_way: Asked before each study whether something more urgent waits.
    """

    scores: Scores
    scorer: Scorer
    tell: Callable[[Standing], object] = lambda _: None
    gives_way: Callable[[], bool] = lambda: False

    def run(self, studies: Sequence[Study]) -> dict[str, Any]:
        """Score what has no score yet; a study that fails is noted with the reason, and the others go on.

        Returns:
            ``version``; how many studies are ``scored``, ``embedded`` and ``failed``, ``of`` how many, ``seconds``, and
            whether it ``gave_way``, which leaves some for another time.
        """
        left = [study for study in studies if not self._has(study)]
        meter, gave_way = _Meter(studies, left, self._cost, self.tell), False
        for study in left:
            if gave_way := self.gives_way():
                break
            meter.within(study, 0, 1)
            self._score(study, partial(meter.within, study))
            meter.over(study)
        self.scores.tidy(self.scorer.maker)
        return self._told(studies) | {"gave_way": gave_way, "seconds": round(meter.seconds, 1)}

    def _cost(self, study: Study) -> int:
        """Return the passes that a study takes."""
        return 1 if study.labelled else self.scorer.spec.samples

    def _told(self, studies: Sequence[Study]) -> dict[str, Any]:
        found = [self._found(study) for study in studies]
        return {
            "version": self.scorer.maker.version,
            "scored": sum(score is not None and score.numbers is not None for score in found),
            "embedded": sum(score is not None and score.embedding is not None for score in found),
            "failed": sum(score is not None and bool(score.error) for score in found),
            "of": len(studies),
        }

    def _found(self, study: Study) -> CaseScore | None:
        digest = self.scores.known(study.name, study.stamp)
        return self.scores.get(digest, self.scorer.maker) if digest else None

    def _has(self, study: Study) -> bool:
        score = self._found(study)
        return score is not None and (score.done or study.labelled)

    def _score(self, study: Study, progress: Progress) -> None:
        try:
            path = Path(study.find())
            digest = hash_file(path)
        except OSError as error:
            # No bytes are known: what failed is the name.
            path, digest, score = None, f"unread {study.name}", CaseScore(error=str(error))
        self.scores.name(study.name, study.stamp, digest)
        if path is not None:
            if self._has(study):
                return  # another name of the same bytes
            score = self._computed(study, path, progress)
        self.scores.put(digest, self.scorer.maker, score)

    def _computed(self, study: Study, path: Path, progress: Progress) -> CaseScore:
        began = time.monotonic()
        try:
            score = (self.scorer.embed if study.labelled else self.scorer.score)(path, progress)
        except InputRejected as error:
            logger.warning("%s is left out: %s", study.name, error)
            return CaseScore(error=str(error))
        except Exception as error:
            logger.exception("%s failed", study.name)
            return CaseScore(error=f"{type(error).__name__}: {error}")
        every: Mapping[str, Any] = (score.numbers or {}).get("all", {})
        told = ", ".join(f"{name} {value:.3g}" for name, value in every.items() if value is not None)
        logger.info("%s in %.1f s: %s", study.name, time.monotonic() - began, told or "embedded")
        return score


class _Meter:
    """Tells where the work stands, by the passes that are done and those that are left."""

    def __init__(
        self,
        studies: Sequence[Study],
        left: Sequence[Study],
        cost: Callable[[Study], int],
        tell: Callable[[Standing], object],
    ) -> None:
        self._cost, self._tell, self._began = cost, tell, time.monotonic()
        self._of, self._done = len(studies), len(studies) - len(left)
        self._total, self._left, self._spent = sum(map(cost, studies)), sum(map(cost, left)), 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def within(self, study: Study, done: int, of: int) -> None:
        spent = self._spent + self._cost(study) * done / of
        eta = self.seconds / spent * (self._left - spent) if spent else None
        self._tell(Standing(self._done, self._of, (self._total - self._left + spent) / self._total, eta))

    def over(self, study: Study) -> None:
        self._spent, self._done = self._spent + self._cost(study), self._done + 1
