"""Teach a restoring task on pairs: the cascade learns, its first stage is what becomes a version."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.crops import CropDataset, Lesson
from lib.data.scintigraphy.pairs import read_pair
from lib.learning.loop import Result, fit
from lib.learning.loop.progress import Report
from lib.learning.recipes.recipe import Recipe
from lib.learning.recipes.restore import Restore
from lib.learning.scan_validation import ScanValidation, pair_of
from lib.models import PROMPTED, RESTORERS
from lib.models.restoration import Cascade, cascade_of
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
    report: Report | None = None,
) -> Result:
    """Teach a network on pairs, beside the second stage and the semantics that only teach.

    Args:
        task: A task that restores.
        recipe: Its recipe.
        network: f_IR1; trained, and left with the best weights.
        train_cases: Rapid scans, with their standard ones as labels.
        val_cases: Pairs that choose the epoch.
        workdir: Folder of checkpoints.
        device: Where to train.
        report: Told of every step.
    Returns:
        What was learned: the weights of f_IR1 alone.
    Raises:
        InputRejected: If a pair is none.
    """
    assert task.counts is not None and isinstance(recipe, Restore), "the spec gives restoring tasks both"
    lessons, fractions = lessons_of(train_cases)
    crops = CropDataset(
        lessons,
        fractions=fractions,
        size=task.counts.crop,
        crops_per_epoch=recipe.patches_per_epoch,
        seed=recipe.seed,
    )
    cascade = assembled(task, recipe, network)
    judge = ScanValidation(val_cases, task.gate.metric) if val_cases else None
    result = fit(recipe, cascade, crops, judge, workdir=workdir, device=device, progress=report)
    learned = {name.removeprefix(FIRST): v for name, v in result.state_dict.items() if name.startswith(FIRST)}
    network.load_state_dict(learned)
    return replace(result, state_dict=learned)


def lessons_of(cases: Sequence[Case]) -> tuple[list[Lesson], list[float]]:
    """Return what pairs teach, and the fractions to thin by, which are theirs.

    The counts of both scans are added up and thinned anew for every crop: its target holds all that its rapid scan does
    not, and has less noise than one scan has; and what changed between the scans, as a bladder does, is not learned.

    Args:
        cases: Rapid scans, with their standard ones as labels.
    Raises:
        InputRejected: If a pair is none.
    """
    lessons: list[Lesson] = []
    fractions: list[float] = []
    for case in cases:
        rapid, standard, fraction = read_pair(pair_of(case))
        lessons.append(Lesson(rapid.counts + standard.counts, 1 + fraction))
        fractions.append(fraction)
    return lessons, fractions


def assembled(task: TaskSpec, recipe: Restore, network: nn.Module) -> Cascade:
    """Return the cascade that teaches a network, with a second stage and semantics where they are asked for.

    Args:
        task: Which network, and whether masks guide it.
        recipe: What is weighed.
        network: f_IR1; the cascade begins with its weights.
    """
    assert task.counts is not None, "a task that restores says how it takes its counts"
    spec, semantics = task.counts, None
    if spec.guided or recipe.consistency_weight:
        semantics = SamSemantics(PROMPTED["sam_tiny"](spec.sam_size, rank=0), side=spec.boxes)
    second = bool(semantics) or recipe.distillation_weight > 0
    torch.manual_seed(recipe.seed)
    cascade = cascade_of(RESTORERS[task.model], semantics, second=second, guided=spec.guided)
    cascade.first.load_state_dict(network.state_dict())
    return cascade
