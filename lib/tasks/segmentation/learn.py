"""Train a network on the labelled cases of a run: the recipe, its second recipe, the background level."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.jobs.judge import broken_weight
from lib.learning.calibrate import Calibration, calibrate
from lib.learning.loop import Result, train
from lib.learning.loop.progress import Report
from lib.learning.loop.validation import Judge
from lib.learning.recipes.recipe import Recipe
from lib.learning.teacher import Teacher
from lib.tasks.spec import TaskSpec

SECOND = "second"
"""Folder, within the folder of a run, of the recipe that follows the first."""


@dataclass(frozen=True)
class TrainingRun:
    """What a training learns from, and where it runs.

    Args:
        recipe: All options.
        train_cases: Labelled cases.
        val_cases: Labelled cases that choose the epoch and the background level.
        workdir: Folder of checkpoints.
        cache: Folder of cases that were read, shared by the runs of a task.
        device: Where to train.
        report: Called at every step.
        transfer_cases: Cases without a label, for which a student sees its teacher's outputs alone.
        teacher: What a student learns from; None if the task is not a student.
    """

    recipe: Recipe
    train_cases: Sequence[Case]
    val_cases: Sequence[Case]
    workdir: Path
    cache: Path
    device: torch.device
    report: Report | None = None
    transfer_cases: Sequence[Case] = ()
    teacher: Teacher | None = None


def learn_labels(
    task: TaskSpec, network: nn.Module, run: TrainingRun, judge: Judge | None = None
) -> tuple[Result, Calibration | None]:
    """Train a network that gives labels.

    Args:
        task: What it gives.
        network: Trained in place, and left with the best weights.
        run: The cases and the recipe.
        judge: What chooses the epoch; None takes the Dice of whole volumes.
    Returns:
        The result with the best weights, and the background level; None where no validation case sets one.
    """

    def course(recipe: Recipe, cases: Sequence[Case], folder: Path, teacher: Teacher | None = None) -> Result:
        return train(
            recipe,
            network,
            cases,
            run.val_cases,
            spec=task.image,
            labels=task.labels,
            workdir=folder,
            judge=judge,
            teacher=teacher,
            cache=run.cache,
            device=run.device,
            progress=run.report,
        )

    result = course(run.recipe, [*run.train_cases, *run.transfer_cases], run.workdir, run.teacher)
    network.load_state_dict(result.state_dict)
    if later := run.recipe.then():
        second = course(later, run.train_cases, run.workdir / SECOND)
        # The first result stays where the second recipe made the network worse.
        result = result if second.score < result.score else second
        network.load_state_dict(result.state_dict)
    if broken_weight(result.state_dict):
        return result, None
    level = calibrate(network, run.val_cases, task.image, task.labels, device=run.device)
    if level is None:
        return result, None
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    return replace(result, state_dict=state), level
