"""Compare a new version with the served version on the held-out cases and let the gate decide."""

import logging
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from lib.data.cases import Case
from lib.jobs.gate import Decision, JudgedCase, decide
from lib.jobs.publish import TaskVersions
from lib.records.split import HELD_OUT, TRAIN, VAL
from lib.tasks.kinds import kind_of
from lib.tasks.serving.weights import (
    NoWeights,
    SchemaMismatch,
    ServedWeights,
    build_network,
    check_schema,
    served_weights,
)
from lib.tasks.spec import AppSpec, TaskSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Comparison of a new version with the served version.

    Args:
        decision: The gate's decision.
        compared_with: Name of the served version; empty if there was none.
        challenger: Scores of the new version on the held-out cases.
        champion: Scores of the served version on the same cases.
    """

    decision: Decision
    compared_with: str
    challenger: list[JudgedCase] = field(default_factory=list)
    champion: list[JudgedCase] = field(default_factory=list)


def judge_challenger(
    app: AppSpec,
    task: TaskSpec,
    network: nn.Module,
    split: Mapping[str, Sequence[Case]],
    versions: TaskVersions,
    device: torch.device,
) -> Comparison:
    """Judge a network and the served version on the held-out cases, and let the gate decide.

    If labels were added to the task since, the two are compared over the classes that both have, and a reason says so.

    Args:
        app: Specification of the app; the gate needs `held_out_patients` patients.
        task: Specification of the task, with the gate's conditions.
        network: The new version.
        split: The frozen split. If no patient is held out, one other case only checks that the outputs are finite and
            not constant.
        versions: The task's versions.
        device: Device for both versions.
    """
    compared_with, champion = versions.served, served_or_none(versions.app_dir, task)
    known = check_schema(task, champion.name, champion.card) if champion else task.labels
    added = set(task.labels) - set(known)
    # The clDice is that of one union, so it has only classes that both versions know.
    compared = replace(task, tubular=tuple(name for name in task.tubular if name not in added))

    def judge(version: nn.Module, cases: Sequence[Case]) -> list[JudgedCase]:
        return kind_of(task).judge(version, cases, compared, device=device)

    new = judge(network, split[HELD_OUT])
    served = judge(build_network(task, champion.path), split[HELD_OUT]) if champion else None
    served = [_without(case, added) for case in served] if served else served
    probes = [] if new else judge(network, [*split[VAL], *split[TRAIN]][:1])
    teacher = _judge_teacher(app, task, split[HELD_OUT], versions, device)
    decision = decide(new, served, task.gate, min_patients=app.held_out_patients, probes=probes, teacher=teacher)
    if added:
        lacking = ", ".join(task.labels[len(known) :])
        note = f"compared over {', '.join(known)}: the served version does not have {lacking}"
        decision = replace(decision, reasons=(*decision.reasons, note))
    return Comparison(decision, compared_with, new, served or [])


def _without(case: JudgedCase, names: Set[str]) -> JudgedCase:
    """Return a case without the scores of some classes."""
    return replace(case, scores={name: score for name, score in case.scores.items() if name not in names})


def _judge_teacher(
    app: AppSpec, task: TaskSpec, cases: Sequence[Case], versions: TaskVersions, device: torch.device
) -> list[JudgedCase]:
    """Return the scores of a student's teacher; empty if the task has no teacher or the teacher needs clicks."""
    teacher = app.task(task.teacher) if task.teacher else None
    if teacher is None or not kind_of(teacher).needs_no_clicks:
        return []
    network = build_network(teacher, served_weights(versions.app_dir, teacher).path)
    return kind_of(teacher).judge(network, cases, teacher, device=device)


def served_or_none(app_dir: str | Path, task: TaskSpec) -> ServedWeights | None:
    """Return the served weights of a task. If there are none with the task's labels, log it and return None."""
    try:
        return served_weights(app_dir, task)
    except (NoWeights, SchemaMismatch) as error:
        logger.warning("%s: no served version to start from or to compare with: %s", task.name, error)
        return None


def mean_score(judged: Sequence[JudgedCase]) -> float:
    """Return the mean over cases of the mean score over their classes; nan if no case has a score."""
    means = [fmean(known) for case in judged if (known := [v for v in case.scores.values() if v is not None])]
    return fmean(means) if means else math.nan
