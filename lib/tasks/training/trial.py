"""Put a new version on trial: the gate's decision, against what is served at that moment."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from lib.data.cases import Case
from lib.jobs.gate import Decision, Judged, decide
from lib.jobs.publish import Shelf
from lib.records.split import HELD_OUT, TRAIN, VAL
from lib.tasks.kinds import kind_of
from lib.tasks.serving.weights import NoWeights, SchemaMismatch, ServedWeights, build_network, served_weights
from lib.tasks.spec import AppSpec, TaskSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """How a new version did.

    Args:
        decision: The gate's.
        against: Name of what was served; empty if nothing was.
        challenger: The new version on the held-out cases.
        champion: The served version on the same.
    """

    decision: Decision
    against: str
    challenger: list[Judged] = field(default_factory=list)
    champion: list[Judged] = field(default_factory=list)


def try_out(
    app: AppSpec,
    task: TaskSpec,
    network: nn.Module,
    split: Mapping[str, Sequence[Case]],
    place: Shelf,
    device: torch.device,
) -> Trial:
    """Judge a network and the served version on the held-out cases, and decide.

    Args:
        app: How many patients the gate wants.
        task: What else it asks.
        network: The new version.
        split: The frozen split; only where nobody is held out does another part serve, for the canary alone.
        place: The task's versions.
        device: Where both run.
    """
    against, champion = place.served, served_or_none(place.app_dir, task)

    def judged(version: nn.Module, cases: Sequence[Case]) -> list[Judged]:
        return kind_of(task).judge(version, cases, task, device=device)

    ours = judged(network, split[HELD_OUT])
    theirs = judged(build_network(task, champion.path), split[HELD_OUT]) if champion else None
    probes = [] if ours else judged(network, [*split[VAL], *split[TRAIN]][:1])
    taught = _teacher(app, task, split[HELD_OUT], place, device)
    decision = decide(ours, theirs, task.gate, min_patients=app.held_out_patients, probes=probes, teacher=taught)
    return Trial(decision, against, ours, theirs or [])


def _teacher(app: AppSpec, task: TaskSpec, cases: Sequence[Case], place: Shelf, device: torch.device) -> list[Judged]:
    """Return how a student's teacher does; nothing where it has none, or one that answers clicks."""
    teacher = app.task(task.teacher) if task.teacher else None
    if teacher is None or not kind_of(teacher).answers_alone:
        return []
    network = build_network(teacher, served_weights(place.app_dir, teacher).path)
    return kind_of(teacher).judge(network, cases, teacher, device=device)


def served_or_none(app_dir: str | Path, task: TaskSpec) -> ServedWeights | None:
    """Return what serves a task; None, and a warning, if nothing does or its labels are not the task's any more."""
    try:
        return served_weights(app_dir, task)
    except (NoWeights, SchemaMismatch) as error:
        logger.warning("nothing to start from or to compare with: %s", error)
        return None


def mean_score(judged: Sequence[Judged]) -> float:
    """Return the mean over cases of the mean over their classes; nan where nothing was scored."""
    means = [fmean(known) for each in judged if (known := [v for v in each.scores.values() if v is not None])]
    return fmean(means) if means else math.nan
