"""Train a network by a recipe: on cases, or on any patches with any judge."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from ignite.utils import manual_seed
from torch import nn

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import ImageSpec
from lib.learning.loop.progress import Report, default_report
from lib.learning.loop.ranks import join
from lib.learning.loop.session import Session
from lib.learning.loop.tracking import MLflow, TensorBoard, Tracker
from lib.learning.loop.validation import CaseScore, Judge, Validation
from lib.learning.recipes.recipe import Recipe
from lib.learning.teacher import Teacher

MLFLOW_RUN = "mlflow-run.json"
STUDENT = "student."
"""Where a module that holds more than the network to be taught has it."""


@dataclass(frozen=True)
class Result:
    """What a run learned.

    Args:
        state_dict: The best weights, on the CPU; the last ones if nothing was judged.
        score: Their mean Dice; nan if nothing was judged.
        best_epoch: Their epoch, from 1; 0 if nothing was judged.
        metrics: Their scores, one ``{"case", "scores": {class: Dice or None}}`` per case.
        history: One row per epoch: losses, learning rate, seconds and, where judged, scores.
        steps: Steps taken.
        skipped: Steps left out because a loss or a gradient was not finite.
        seconds: Time spent, earlier parts of a resumed run included.
        stopped: ``finished``, ``early``, ``time``, ``requested`` or ``interrupted``.
    """

    state_dict: dict[str, torch.Tensor]
    score: float
    best_epoch: int
    metrics: list[CaseScore]
    history: list[dict[str, Any]]
    steps: int
    skipped: int
    seconds: float
    stopped: str


def train(
    recipe: Recipe,
    network: nn.Module,
    train_cases: Sequence[Case],
    val_cases: Sequence[Case],
    *,
    spec: ImageSpec,
    labels: Sequence[str],
    workdir: Path,
    judge: Judge | None = None,
    teacher: Teacher | None = None,
    cache: Path | None = None,
    device: str | torch.device = "cpu",
    progress: Report | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = True,
    track: bool = True,
) -> Result:
    """Train on labelled cases and judge on held-out ones.

    Args:
        recipe: What to do, and for how long.
        network: Trained in place; the result holds the best weights, which may be others.
        train_cases: Cases with labels.
        val_cases: Held-out cases with labels; none, and the last weights are the best.
        spec: How images are read, cut and windowed.
        labels: Names of the classes 1, 2, ...
        workdir: Folder of checkpoints, curves and records; made if absent.
        judge: Scores a network on the held-out cases; absent, by the Dice of whole volumes.
        teacher: Whose outputs are learned from as well; cases may then have no label.
        cache: Folder for what was read of the cases; a later run then starts at once.
        device: Where to train; under torchrun ``cuda`` is this process's own GPU.
        progress: Told of every step; absent, a bar or log lines.
        should_stop: Asked at every step; the run ends cleanly once it says yes.
        resume: Whether to go on from a checkpoint in `workdir`.
        track: Whether to record curves in TensorBoard and MLflow.
    Returns:
        What was learned.
    Raises:
        ValueError: If there is no case to train on, a case has no label, or the checkpoint is another recipe's.
        Diverged: If no step has a finite loss and gradient any more.
    """
    if not train_cases:
        raise ValueError("there is no labelled case to train on: submit labels first")
    soft = None if teacher is None else teacher.outputs(train_cases, (cache or workdir) / "teacher", device)
    patches = PatchDataset(
        train_cases,
        spec,
        classes=len(labels) + 1,
        patches_per_epoch=recipe.patches_per_epoch,
        seed=recipe.seed,
        augment=recipe.augmentation(),
        cache=cache,
        soft=soft,
    )
    if judge is None and val_cases:
        judge = Validation(val_cases, spec, labels)
    whole = network if teacher is None else recipe.assemble(network, teacher.network, spec, teacher.spec)
    result = fit(
        recipe,
        whole,
        patches,
        judge if whole is network or judge is None else _of_student(judge),
        workdir=workdir,
        device=device,
        progress=progress,
        should_stop=should_stop,
        resume=resume,
        track=track,
    )
    if whole is network:
        return result
    learned = {name.removeprefix(STUDENT): v for name, v in result.state_dict.items() if name.startswith(STUDENT)}
    return replace(result, state_dict=learned)


def _of_student(judge: Judge) -> Judge:
    return lambda whole, ranks: judge(cast(nn.Module, whole.student), ranks)


def fit(
    recipe: Recipe,
    network: nn.Module,
    patches: Any,
    judge: Judge | None,
    *,
    workdir: Path,
    device: str | torch.device = "cpu",
    progress: Report | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = True,
    track: bool = True,
) -> Result:
    """Train on any map-style data set of patches; the rest as :func:`train`.

    Args:
        recipe: What to do, and for how long.
        network: Trained in place.
        patches: Items of the batches that `recipe.step` takes; ``set_epoch`` is called where it exists.
        judge: Scores a network on held-out cases, the same list in every process.
        workdir: Folder of checkpoints, curves and records.
        device: Where to train.
        progress: Told of every step.
        should_stop: Asked at every step.
        resume: Whether to go on from a checkpoint in `workdir`.
        track: Whether to record curves.
    Returns:
        What was learned.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with join(device) as ranks:
        manual_seed(recipe.seed + ranks.rank)
        reporter = default_report() if progress is None and ranks.first else None
        session = Session(
            recipe,
            network.to(ranks.device),
            patches,
            judge,
            ranks=ranks,
            workdir=workdir,
            report=progress or reporter or (lambda _: None),
            should_stop=should_stop or (lambda: False),
        )
        resumed = resume and session.resume()
        session.trackers = _trackers(recipe, workdir, resumed) if track and ranks.first else []
        try:
            session.run()
        except BaseException:
            _close(session.trackers, "FAILED")
            raise
        finally:
            if reporter:
                reporter.close()
        _close(session.trackers, "FINISHED" if session.stopped in ("finished", "early", "time") else "KILLED")
        return _result(session)


def _trackers(recipe: Recipe, workdir: Path, resumed: bool) -> list[Tracker]:
    note = workdir / MLFLOW_RUN
    known = json.loads(note.read_text())["run_id"] if resumed and note.exists() else ""
    mlflow = MLflow(workdir, {"recipe": type(recipe).__name__, **asdict(recipe)}, known)
    with replacing(note) as partial:
        partial.write_text(json.dumps({"run_id": mlflow.run_id}))
    return [TensorBoard(workdir), mlflow]


def _close(trackers: Sequence[Tracker], status: str) -> None:
    for tracker in trackers:
        tracker.close(status)


def _result(session: Session) -> Result:
    tally = session.tally
    return Result(
        state_dict=session.best_weights,
        score=tally.best_score,
        best_epoch=tally.best_epoch,
        metrics=tally.metrics,
        history=tally.history,
        steps=tally.step,
        skipped=tally.skipped,
        seconds=tally.seconds,
        stopped=session.stopped,
    )
