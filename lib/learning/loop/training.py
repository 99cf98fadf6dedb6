"""Train a network with a recipe, on cases or on any data set of patches."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.data.patches.dataset import PatchDataset
from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec
from lib.learning.loop.progress import ProgressCallback, default_report
from lib.learning.loop.ranks import join_processes
from lib.learning.loop.session import TrainingSession
from lib.learning.loop.tracking import MLflow, TensorBoard, Tracker
from lib.learning.loop.validation import CaseScore, Validation, ValidationFunction
from lib.learning.recipes.recipe import Recipe
from lib.learning.teacher import Teacher

MLFLOW_RUN = "mlflow-run.json"
STUDENT = "student."
"""Prefix of the student's weights in a module that holds student and teacher."""


@dataclass(frozen=True)
class Result:
    """The result of a training run.

    Args:
        state_dict: Best weights, on the CPU; the last weights if the run had no validation.
        score: Mean Dice of the best weights; nan without validation.
        best_epoch: Epoch of the best weights, from 1; 0 without validation.
        metrics: Scores of the best weights, one ``{"case", "scores": {class: Dice or None}}`` per case.
        history: One row per epoch: losses, learning rate, seconds and, after a validation, scores.
        steps: Steps done.
        skipped: Steps that were skipped because a loss or a gradient was not finite.
        seconds: Training time, including earlier parts of a resumed run.
        stopped: Reason for the end: ``finished``, ``early``, ``time``, ``requested`` or ``interrupted``.
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
    augment: AugmentSpec = AugmentSpec(),  # noqa: B008 - frozen
    validate: ValidationFunction | None = None,
    teacher: Teacher | None = None,
    cache: Path | None = None,
    device: str | torch.device = "cpu",
    progress: ProgressCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = True,
    track: bool = True,
) -> Result:
    """Train on labelled cases and validate on other cases.

    Args:
        recipe: Options and training step.
        network: Trained in place; its final weights may differ from the best weights in the result.
        train_cases: Training cases with labels; with a teacher, labels may be missing.
        val_cases: Validation cases with labels; without them, the last weights are the best.
        spec: Grid, intensity window, patch size and neighbouring slices (channels) with which images are read.
        labels: Names of the classes 1, 2, ...
        workdir: Folder of checkpoints and curves; created if absent.
        augment: Whether patches are mirrored, and which labels a mirrored patch exchanges.
        validate: Function that scores a network on the validation cases; None takes the Dice of whole volumes.
        teacher: Teacher from whose logits the network also learns.
        cache: Folder that caches the read cases, so that a later run starts faster.
        device: Training device; under torchrun ``cuda`` is the GPU of this process.
        progress: Called with the progress after every step; None shows a bar or log lines.
        should_stop: Called at every step; the run ends cleanly when it returns True.
        resume: Whether to continue from a checkpoint in `workdir`.
        track: Whether to record curves with TensorBoard and MLflow.
    Returns:
        The best weights, their scores and the history of the run.
    Raises:
        ValueError: If there is no case to train on, a case has no label and there is no teacher, or
            the checkpoint has other options, or `augment` does not fit the labels.
        Diverged: If too many steps in a row have no finite loss and gradient.
    """
    if not train_cases:
        raise ValueError("there is no labelled case to train on: submit labels first")
    teacher_logits = None if teacher is None else teacher.outputs(train_cases, (cache or workdir) / "teacher", device)
    patches = PatchDataset(
        train_cases,
        spec,
        classes=len(labels) + 1,
        labels=labels,
        patches_per_epoch=recipe.patches_per_epoch,
        seed=recipe.seed,
        augment=recipe.augmentation(augment.mirroring(labels)),
        cache=cache,
        teacher_logits=teacher_logits,
    )
    if validate is None and val_cases:
        validate = Validation(val_cases, spec, labels)
    model = network if teacher is None else recipe.attach_teacher(network, teacher.network, spec, teacher.spec)
    result = fit(
        recipe,
        model,
        patches,
        validate if model is network or validate is None else _validate_student(validate),
        workdir=workdir,
        device=device,
        progress=progress,
        should_stop=should_stop,
        resume=resume,
        track=track,
    )
    if model is network:
        return result
    student = {name.removeprefix(STUDENT): v for name, v in result.state_dict.items() if name.startswith(STUDENT)}
    return replace(result, state_dict=student)


def _validate_student(validate: ValidationFunction) -> ValidationFunction:
    return lambda module, ranks: validate(cast(nn.Module, module.student), ranks)


def fit(
    recipe: Recipe,
    network: nn.Module,
    patches: Any,
    validate: ValidationFunction | None,
    *,
    workdir: Path,
    device: str | torch.device = "cpu",
    progress: ProgressCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = True,
    track: bool = True,
) -> Result:
    """Train on any map-style data set of patches; otherwise like :func:`train`.

    Args:
        recipe: Options and training step.
        network: Trained in place.
        patches: Data set of the items of the batches for `recipe.step`; its ``set_epoch`` is called if it exists.
        validate: Function that scores a network on the validation cases; it returns the same list in every process.
        workdir: Folder of checkpoints and curves.
        device: Training device.
        progress: Called with the progress after every step; None shows a bar or log lines.
        should_stop: Called at every step; the run ends cleanly when it returns True.
        resume: Whether to continue from a checkpoint in `workdir`.
        track: Whether to record curves with TensorBoard and MLflow.
    Returns:
        The best weights, their scores and the history of the run.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with join_processes(device) as ranks:
        from ignite.utils import manual_seed

        manual_seed(recipe.seed + ranks.rank)
        reporter = default_report() if progress is None and ranks.is_first else None
        session = TrainingSession(
            recipe,
            network.to(ranks.device),
            patches,
            validate,
            ranks=ranks,
            workdir=workdir,
            report=progress or reporter or (lambda _: None),
            should_stop=should_stop or (lambda: False),
        )
        resumed = resume and session.resume()
        session.trackers = _trackers(recipe, workdir, resumed) if track and ranks.is_first else []
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
    run_file = workdir / MLFLOW_RUN
    run_id = json.loads(run_file.read_text())["run_id"] if resumed and run_file.exists() else ""
    mlflow = MLflow(workdir, {"recipe": type(recipe).__name__, **asdict(recipe)}, run_id)
    with replacing(run_file) as partial:
        partial.write_text(json.dumps({"run_id": mlflow.run_id}))
    return [TensorBoard(workdir), mlflow]


def _close(trackers: Sequence[Tracker], status: str) -> None:
    for tracker in trackers:
        tracker.close(status)


def _result(session: TrainingSession) -> Result:
    state = session.state
    return Result(
        state_dict=session.best_weights,
        score=state.best_score,
        best_epoch=state.best_epoch,
        metrics=state.metrics,
        history=state.history,
        steps=state.step,
        skipped=state.skipped,
        seconds=state.seconds,
        stopped=session.stopped,
    )
