"""Train a restoration task on pairs of scans; only the first stage of the trained cascade becomes a version."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.crops import CropDataset, TrainingCounts
from lib.data.scintigraphy.pairs import read_pair
from lib.learning.loop import Result, fit
from lib.learning.loop.progress import ProgressCallback
from lib.learning.recipes.recipe import Recipe
from lib.learning.recipes.restore import Restore
from lib.learning.scan_validation import ScanValidation, pair_of
from lib.models import PROMPTED, RESTORERS
from lib.models.restoration import Cascade, build_cascade
from lib.models.restoration.semantics import SamSemantics
from lib.tasks.spec import TaskSpec

FIRST = "first."


def learn_to_restore(
    task: TaskSpec,
    recipe: Recipe,
    network: nn.Module,
    train_cases: Sequence[Case],
    val_cases: Sequence[Case],
    workdir: Path,
    *,
    device: str | torch.device = "cpu",
    report: ProgressCallback | None = None,
) -> Result:
    """Train a network on pairs of scans, in a cascade with a second stage and semantics that are used only in training.

    Args:
        task: Task of kind "restoration".
        recipe: Training recipe of the task.
        network: f_IR1; it has the best weights after the call.
        train_cases: Rapid scans, with their standard scans as labels.
        val_cases: Pairs that select the epoch.
        workdir: Folder of the checkpoints.
        device: Device to train on.
        report: Called at every step.
    Returns:
        The result of the training, with the weights of f_IR1 only.
    Raises:
        InputRejected: If a rapid scan and its label are not a pair.
    """
    assert task.counts is not None and isinstance(recipe, Restore), "a restoration task has counts and a restore recipe"
    examples, fractions = pair_examples(train_cases)
    crops = CropDataset(
        examples,
        fractions=fractions,
        size=task.counts.crop,
        crops_per_epoch=recipe.patches_per_epoch,
        seed=recipe.seed,
    )
    cascade = build_training_cascade(task, recipe, network)
    judge = ScanValidation(val_cases, task.gate.metric) if val_cases else None
    result = fit(recipe, cascade, crops, judge, workdir=workdir, device=device, progress=report)
    learned = {name.removeprefix(FIRST): v for name, v in result.state_dict.items() if name.startswith(FIRST)}
    network.load_state_dict(learned)
    return replace(result, state_dict=learned)


def pair_examples(cases: Sequence[Case]) -> tuple[list[TrainingCounts], list[float]]:
    """Return the training examples of pairs, and the fraction of counts of each rapid scan.

    An example is the sum of the counts of both scans. Every crop is thinned again from this sum: the target has the
    counts that the thinned input does not have, and less noise than a single scan. A difference between the two scans,
    such as a filling bladder, cannot be learned.

    Args:
        cases: Rapid scans, with their standard scans as labels.
    Raises:
        InputRejected: If a rapid scan and its label are not a pair.
    """
    examples: list[TrainingCounts] = []
    fractions: list[float] = []
    for case in cases:
        rapid, standard, fraction = read_pair(pair_of(case))
        examples.append(TrainingCounts(rapid.counts + standard.counts, 1 + fraction))
        fractions.append(fraction)
    return examples, fractions


def build_training_cascade(task: TaskSpec, recipe: Restore, network: nn.Module) -> Cascade:
    """Return the cascade that trains a network, with a second stage and semantics if task or recipe use them.

    Args:
        task: The task; it names the network and states whether masks guide the second stage.
        recipe: The recipe, with the weights of the losses.
        network: f_IR1; the first stage of the cascade starts with its weights.
    """
    assert task.counts is not None, "a restoration task declares its counts"
    spec, semantics = task.counts, None
    if spec.guided or recipe.consistency_weight:
        semantics = SamSemantics(PROMPTED["sam_tiny"](spec.sam_size, rank=0), side=spec.boxes)
    second = bool(semantics) or recipe.distillation_weight > 0
    torch.manual_seed(recipe.seed)
    cascade = build_cascade(RESTORERS[task.model], semantics, second=second, guided=spec.guided)
    cascade.first.load_state_dict(network.state_dict())
    return cascade
