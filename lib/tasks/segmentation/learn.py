"""Train a network on labelled cases: first recipe, optional second recipe, calibration of the background level."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.learning.calibrate import Calibration, calibrate
from lib.learning.loop import Result, train
from lib.learning.loop.progress import ProgressCallback
from lib.learning.loop.validation import ValidationFunction
from lib.learning.recipes.recipe import Recipe
from lib.learning.teacher import Teacher
from lib.models.weights import find_nonfinite_weight
from lib.tasks.spec import TaskSpec

SECOND = "second"
"""Name of the second recipe's folder inside the folder of the run."""


@dataclass(frozen=True)
class TrainingRun:
    """Inputs of one training.

    Args:
        recipe: Training recipe with all options.
        train_cases: Labelled cases to train on.
        val_cases: Labelled cases that select the epoch and the background level.
        workdir: Folder of the checkpoints.
        cache: Folder of preprocessed cases, shared by all runs of a task.
        device: Device to train on.
        report: Called at every step.
        transfer_cases: Cases without a label, on which a student learns from the teacher's logits only.
        teacher: Teacher of a student; None if the task is not a student.
    """

    recipe: Recipe
    train_cases: Sequence[Case]
    val_cases: Sequence[Case]
    workdir: Path
    cache: Path
    device: torch.device
    report: ProgressCallback | None = None
    transfer_cases: Sequence[Case] = ()
    teacher: Teacher | None = None


def learn_labels(
    task: TaskSpec, network: nn.Module, run: TrainingRun, judge: ValidationFunction | None = None
) -> tuple[Result, Calibration | None]:
    """Train a network that segments.

    Args:
        task: The task; it declares labels and preprocessing.
        network: Network to train; it has the best weights after the call.
        run: Cases and recipe.
        judge: Validation that selects the epoch; None takes the Dice of whole volumes.
    Returns:
        The result with the best weights, and the background level, or None if no validation case determines one.
    """

    def train_recipe(recipe: Recipe, cases: Sequence[Case], folder: Path, teacher: Teacher | None = None) -> Result:
        return train(
            recipe,
            network,
            cases,
            run.val_cases,
            spec=task.image,
            labels=task.labels,
            augment=task.augment,
            workdir=folder,
            validate=judge,
            teacher=teacher,
            cache=run.cache,
            device=run.device,
            progress=run.report,
        )

    result = train_recipe(run.recipe, [*run.train_cases, *run.transfer_cases], run.workdir, run.teacher)
    network.load_state_dict(result.state_dict)
    if later := run.recipe.next_recipe():
        second = train_recipe(later, run.train_cases, run.workdir / SECOND)
        # Keep the first result if the second recipe made the network worse.
        result = result if second.score < result.score else second
        network.load_state_dict(result.state_dict)
    if find_nonfinite_weight(result.state_dict):
        return result, None
    level = calibrate(network, run.val_cases, task.image, task.labels, device=run.device)
    if level is None:
        return result, None
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    return replace(result, state_dict=state), level
