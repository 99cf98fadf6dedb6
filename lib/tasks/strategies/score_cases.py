"""Score the cases of a task for its strategies; an interrupted scoring continues with the missing cases."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lib.data.findings import InputRejected
from lib.records.card import hash_file
from lib.records.scores import CaseScore, Scores, ScoreSource
from lib.tasks.spec import SEGMENTATION, TaskSpec, load_app, require_kind
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.scorer import Progress, Scorer

logger = logging.getLogger(__name__)


class CaseScorer(Protocol):
    """Computes the scores of images with one version.

    Attributes:
        source: Version and settings of the scores.
        passes: Forward passes that the score of one image takes.
    """

    @property
    def source(self) -> ScoreSource: ...

    @property
    def passes(self) -> int: ...

    def score(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return the numbers and the embedding of an image."""
        ...

    def embed(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return only the embedding of an image."""
        ...


@dataclass(frozen=True)
class Study:
    """A case that may be scored.

    Args:
        name: Name of the study in the store.
        stamp: String that changes with the file; empty if files never change.
        find: Returns the path of the file, which may be fetched from an archive.
        labelled: Whether the study has a final label; then only its embedding is computed.
    """

    name: str
    stamp: str
    find: Callable[[], str | Path]
    labelled: bool = False


@dataclass(frozen=True)
class ScoringProgress:
    """Progress of a scoring.

    Args:
        done: Studies done, including those of earlier runs.
        of: Total number of studies.
        fraction: Share of the work that is done, in [0, 1].
        eta_seconds: Remaining time in s; None before the first study.
    """

    done: int
    of: int
    fraction: float
    eta_seconds: float | None

    def __str__(self) -> str:
        return f"study {min(self.done + 1, self.of)} of {self.of}"


def file_stamp(path: str | Path) -> str:
    """Return size and modification time of a file; "gone" if the file does not exist."""
    try:
        facts = Path(path).stat()
    except OSError:
        return "gone"
    return f"{facts.st_size} {facts.st_mtime_ns}"


def score_folder(
    app_dir: str | Path,
    task: TaskSpec,
    studies: str | Path,
    *,
    device: str,
    on_progress: Callable[[ScoringProgress], object],
) -> dict[str, Any]:
    """Score every study of a folder and return the scores; a server of the same folder also ranks by these scores.

    Args:
        app_dir: Folder of the app.
        task: Task of kind "segmentation"; without scores in app.toml, the default settings apply.
        studies: Folder of images, with labels in ``labels/final``.
        device: Device of the network.
        on_progress: Called with the progress.
    Returns:
        The result of `ScoreCases.run`, and ``cases``: numbers by study, or ``{"error": reason}``.
    """
    require_kind(task, SEGMENTATION, "score cases")
    scorer = Scorer(app_dir, replace(task, scores=task.scores or ScoreSpec()), device=device)
    found = [
        Study(case.id, file_stamp(case.image), lambda case=case: case.image, labelled=case.label is not None)
        for case in load_app(app_dir).find_cases(studies)
    ]
    work = ScoreCases(Scores(app_dir), scorer, on_progress)
    summary, known = work.run(found), work.scores.by_image(scorer.source)
    cases = {study.name: known[study.name][1] for study in found if not study.labelled and study.name in known}
    return summary | {"cases": {name: score.numbers or {"error": score.error} for name, score in cases.items()}}


def select_pool(images: Iterable[str], unlabelled: Sequence[str], source: ScoreSource, pool: int) -> list[str]:
    """Return the cases without a label that a version scores: all of a small store, a random draw of a large store.

    The draw is made from all cases, labelled ones too, so that a new label does not add another case to the pool. Every
    version draws again.

    Args:
        images: All cases of the store.
        unlabelled: Cases without a final label.
        source: Version and settings of the scores.
        pool: Size of the pool; 0 for all cases.
    """
    if not pool or len(unlabelled) <= pool:
        return list(unlabelled)

    def draw_key(image: str) -> str:
        return hashlib.sha256(f"{source.task}/{source.version}/{image}".encode()).hexdigest()

    drawn = set(sorted(images, key=draw_key)[:pool])
    return [image for image in unlabelled if image in drawn] or sorted(unlabelled, key=draw_key)[:pool]


@dataclass
class ScoreCases:
    """Score studies one after the other.

    Args:
        scores: Store of the scores.
        scorer: Computes the score of an image.
        on_progress: Called with the progress, also within a study.
        should_yield: Returns whether a more urgent job waits; called before every study.
    """

    scores: Scores
    scorer: CaseScorer
    on_progress: Callable[[ScoringProgress], object] = lambda _: None
    should_yield: Callable[[], bool] = lambda: False

    def run(self, studies: Sequence[Study]) -> dict[str, Any]:
        """Score the studies without a score; a study that fails is recorded with the reason, and scoring continues.

        Returns:
            ``version``; the numbers of studies ``scored``, ``embedded``, ``failed`` and in total (``of``); ``seconds``;
            and ``gave_way``, whether the run stopped for a more urgent job before all studies were scored.
        """
        left = [study for study in studies if not self._is_scored(study)]
        meter, gave_way = _ProgressMeter(studies, left, self._passes, self.on_progress), False
        for study in left:
            if gave_way := self.should_yield():
                break
            meter.update(study, 0, 1)
            self._score(study, partial(meter.update, study))
            meter.finish(study)
        self.scores.delete_stale(self.scorer.source)
        return self._summary(studies) | {"gave_way": gave_way, "seconds": round(meter.seconds, 1)}

    def _passes(self, study: Study) -> int:
        """Return the number of forward passes that a study takes."""
        return 1 if study.labelled else self.scorer.passes

    def _summary(self, studies: Sequence[Study]) -> dict[str, Any]:
        found = [self._found(study) for study in studies]
        return {
            "version": self.scorer.source.version,
            "scored": sum(score is not None and score.numbers is not None for score in found),
            "embedded": sum(score is not None and score.embedding is not None for score in found),
            "failed": sum(score is not None and bool(score.error) for score in found),
            "of": len(studies),
        }

    def _found(self, study: Study) -> CaseScore | None:
        digest = self.scores.find_hash(study.name, study.stamp)
        return self.scores.get(digest, self.scorer.source) if digest else None

    def _is_scored(self, study: Study) -> bool:
        score = self._found(study)
        return score is not None and (score.done or study.labelled)

    def _score(self, study: Study, progress: Progress) -> None:
        try:
            path = Path(study.find())
            digest = hash_file(path)
        except OSError as error:
            # The bytes cannot be read, so the score is stored under the name.
            path, digest, score = None, f"unread {study.name}", CaseScore(error=str(error))
        self.scores.record_image(study.name, study.stamp, digest)
        if path is not None:
            if self._is_scored(study):
                return  # the same bytes were scored under another name
            score = self._compute(study, path, progress)
        self.scores.put(digest, self.scorer.source, score)

    def _compute(self, study: Study, path: Path, progress: Progress) -> CaseScore:
        start = time.monotonic()
        try:
            score = (self.scorer.embed if study.labelled else self.scorer.score)(path, progress)
        except InputRejected as error:
            logger.warning("study %s is not scored: %s", study.name, error)
            return CaseScore(error=str(error))
        except Exception as error:
            logger.exception("scoring of study %s failed", study.name)
            return CaseScore(error=f"{type(error).__name__}: {error}")
        numbers: Mapping[str, Any] = (score.numbers or {}).get("all", {})
        text = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items() if value is not None)
        logger.info("study %s scored in %.1f s: %s", study.name, time.monotonic() - start, text or "embedding only")
        return score


class _ProgressMeter:
    """Report the progress, measured in forward passes."""

    def __init__(
        self,
        studies: Sequence[Study],
        left: Sequence[Study],
        passes: Callable[[Study], int],
        on_progress: Callable[[ScoringProgress], object],
    ) -> None:
        self._passes, self._on_progress, self._start = passes, on_progress, time.monotonic()
        self._of, self._done = len(studies), len(studies) - len(left)
        self._total, self._left, self._spent = sum(map(passes, studies)), sum(map(passes, left)), 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def update(self, study: Study, done: int, of: int) -> None:
        spent = self._spent + self._passes(study) * done / of
        eta = self.seconds / spent * (self._left - spent) if spent else None
        fraction = (self._total - self._left + spent) / self._total
        self._on_progress(ScoringProgress(self._done, self._of, fraction, eta))

    def finish(self, study: Study) -> None:
        self._spent, self._done = self._spent + self._passes(study), self._done + 1
