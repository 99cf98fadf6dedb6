"""Train a new version on submitted labels, judge it on the held-out patients and publish it if the gate allows."""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.data.cases import Case
from lib.data.channels import find_channels
from lib.data.findings import InputRejected
from lib.jobs.gate import DICE, PUBLISH, REJECT, Decision
from lib.jobs.job_record import record_job
from lib.jobs.publish import TaskVersions, apply_decision, find_gate_decision, register
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.learning.loop.progress import ProgressCallback, TrainingProgress, default_report
from lib.learning.recipes.recipe import Recipe
from lib.models.inference.engine import select_device
from lib.records.card import Card, find_code_version, hash_data, hash_labels
from lib.records.labels import LabelVersions
from lib.records.split import HELD_OUT, TRAIN, VAL, FrozenSplit
from lib.records.versions import find_version, list_versions, new_name, write_version
from lib.tasks.kinds import kind_of
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.models import apply_last_decision, update_mlflow_registry
from lib.tasks.serving.teacher import TEACHER, describe_teacher, find_teacher_mismatch, load_teacher, teacher_of
from lib.tasks.serving.weights import build_network, find_weights, open_task_versions, served_weights
from lib.tasks.spec import AppSpec, SpecError, TaskSpec, load_app
from lib.tasks.training.checked_cases import check_cases
from lib.tasks.training.comparison import Comparison, judge_challenger, mean_score, served_or_none
from lib.tasks.training.run_start import OUTCOME, TRANSFER, RunStart, close_run
from lib.tasks.training.synthesis import synthetic_cases
from lib.tasks.training.training_stats import TrainingStats

logger = logging.getLogger(__name__)

RUNS = "runs"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training.

    Args:
        version: Name of the new version.
        published: Whether the new version is served now.
        verdict: Verdict of the gate: "publish", "hold" or "reject".
        reason: Reasons of the verdict.
        score: Mean score of the new version on the held-out cases (Dice, PSNR or SSIM); nan if no case has a score.
        parent: Name of the version that training started from; empty if it started from random weights.
        parent_score: Mean score of the served version on the same cases.
        train_cases: Number of training cases.
        val_cases: Number of validation cases, which select the epoch and the background level.
        held_out_cases: Number of held-out cases.
        seconds: Duration of the training and its judgement.
    """

    version: str
    published: bool
    verdict: str
    reason: str
    score: float
    parent: str
    parent_score: float
    train_cases: int
    val_cases: int
    held_out_cases: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome JSON-safe, with None for nan."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def retrain(
    app_dir: str | Path,
    task: TaskSpec | str,
    studies: str | Path | Sequence[Case],
    options: Mapping[str, Any] | None = None,
    *,
    device: str | torch.device | None = None,
    run: str = "",
    report: ProgressCallback | None = None,
) -> Outcome:
    """Train a task on labelled cases and publish the new version if the gate allows.

    An interrupted run resumes under its name from its last checkpoint, with the cases, labels and options that it
    started with. However often a run is interrupted, it writes one version and one decision.

    Args:
        app_dir: The app's folder.
        task: The task, or its name.
        studies: Cases, or a folder of images with their labels in ``labels/final``. Cases without a label are used only
            if the task has a teacher.
        options: Options of the recipe, which replace those of app.toml.
        device: Device to train on; None takes a GPU if there is one.
        run: Name of the run and of its version; empty for a new run.
        report: Called with the progress after each step.
    Returns:
        The outcome; the saved outcome if the run has already ended.
    Raises:
        ValueError: If the task has no recipe, an option is unknown, or fewer than two patients have labels.
    """
    began = time.monotonic()
    app = load_app(app_dir)
    task = app.task(task) if isinstance(task, str) else task
    versions = open_task_versions(app_dir, task)
    apply_last_decision(app_dir, task)
    run = run or new_name()
    workdir = versions.root / RUNS / run
    if (workdir / OUTCOME).is_file():
        return Outcome(**json.loads((workdir / OUTCOME).read_text()))
    labels = LabelVersions(app_dir, versions.ledger, app.tasks[0].labels)
    start, resumed = _load_or_create_start(app, task, studies, options or {}, labels, workdir)
    device = select_device(device)
    with (
        record_job(versions.ledger, task.name, run, resumed=resumed) as job,
        TrainingStats(versions.root, start.recipe.max_epochs) as stats,
    ):
        split = start.split
        logger.info("training %s: %s", task.name, ", ".join(f"{len(cases)} {part}" for part, cases in split.items()))
        network, result, chosen = _train_network(
            app, task, start, workdir, device, _call_all(stats.report, default_report(), report)
        )
        comparison, decision = _judge_and_decide(
            app, task, network, start, versions, device, (result, chosen, run), labels
        )
        job |= {"version": run, "verdict": decision.verdict}
        outcome = Outcome(
            version=run,
            published=decision.verdict == PUBLISH,
            verdict=decision.verdict,
            reason=decision.reason,
            score=mean_score(comparison.challenger),
            parent=start.parent,
            parent_score=mean_score(comparison.champion),
            train_cases=len(split[TRAIN]),
            val_cases=len(split[VAL]),
            held_out_cases=len(split[HELD_OUT]),
            seconds=time.monotonic() - began,
        )
        stats.finish(outcome.as_dict())
    close_run(workdir, asdict(outcome))
    update_mlflow_registry(versions)
    states = {"publish": "served now", "hold": "held until an admin decides"}
    logger.info("version %s is %s: %s", run, states.get(decision.verdict, "kept, but not served"), decision.reason)
    return outcome


def _load_or_create_start(
    app: AppSpec,
    task: TaskSpec,
    studies: str | Path | Sequence[Case],
    options: Mapping[str, Any],
    labels: LabelVersions,
    workdir: Path,
) -> tuple[RunStart, bool]:
    """Return the inputs of a run, which are chosen and saved if the run is new, and whether the run is resumed."""
    if start := RunStart.read(workdir, task):
        return start, True
    recipe = _recipe(task, options)
    cases = app.find_cases(studies) if isinstance(studies, str | Path) else studies
    teacher = served_weights(labels.app_dir, teacher_of(app, task)).name if task.teacher else ""
    split = _split(app, labels, [case for case in cases if _has_channels(case, task)], transfer=bool(teacher))
    if teacher:
        # These images were generated from the training part only, so they show no held-out patient.
        split[TRANSFER] += synthetic_cases(labels.app_dir, task)
    parent = served_or_none(labels.app_dir, task)
    start = RunStart(parent.name if parent else "", recipe, split, teacher)
    start.write(workdir)
    return start, False


def _has_channels(case: Case, task: TaskSpec) -> bool:
    """Return whether a case has the channels of a task; otherwise it is left out with a line in the log."""
    try:
        find_channels(case.image, task.image.channels)
    except InputRejected as rejected:
        found = rejected.findings[0]
        logger.warning("%s is left out: %s %s %s", case.id, found.code, found.reason, found.remedy)
        return False
    return True


def _judge_and_decide(
    app: AppSpec,
    task: TaskSpec,
    network: nn.Module,
    start: RunStart,
    versions: TaskVersions,
    device: torch.device,
    learned: tuple[Result, Calibration | None, str],
    labels: LabelVersions,
) -> tuple[Comparison, Decision]:
    """Write the version, judge it and apply the gate's decision; a resumed run repeats no step that is done."""
    result, chosen, run = learned
    if decision := find_gate_decision(versions, run):
        return Comparison(decision, ""), decision
    comparison = judge_challenger(app, task, network, start.split, versions, device)
    teacher = (
        {TEACHER: describe_teacher(versions.app_dir, teacher_of(app, task), start.teacher)} if start.teacher else {}
    )
    if reason := find_teacher_mismatch(versions.app_dir, app, task, {"notes": teacher}):
        decision = comparison.decision
        rejection = replace(decision, verdict=REJECT, reasons=(reason, *decision.reasons))
        comparison = replace(comparison, decision=rejection)
    if not any(version.name == run for version in list_versions(versions.root)):
        write_version(
            versions.root, result.state_dict, _build_card(task, start, result, comparison, chosen, teacher), name=run
        )
    version = find_version(versions.root, run)
    register(versions, version, _describe_provenance(start.split, version.card, labels))
    return comparison, apply_decision(versions, run, comparison.decision, compared_with=comparison.compared_with)


def _recipe(task: TaskSpec, options: Mapping[str, Any]) -> Recipe:
    if task.train is None:
        raise SpecError(f"task '{task.name}' has no `train` in app.toml: add a recipe to train it")
    base = task.train.options
    return type(base).from_options({**asdict(base), **options})


def _split(app: AppSpec, labels: LabelVersions, cases: Sequence[Case], *, transfer: bool) -> dict[str, list[Case]]:
    """Return the cases by part of the split, with kept copies of their labels, which later submissions do not change.

    For a student, cases without a label are also assigned to a part, and only those of `train` are used: a held-out
    patient must not be trained on before its first label.
    """
    cases = check_cases(app, labels, cases)
    kept = [case for case in cases if case.label]
    if len({case.patient for case in kept}) < 2:
        raise ValueError(
            "fewer than 2 patients have labels, but training needs one patient to train on and one held out: submit a "
            "label of another patient"
        )
    frozen = FrozenSplit(labels.ledger, held_out_patients=app.held_out_patients, hash_image=labels.hash)
    split = frozen.assign(kept)
    if transfer:
        unlabelled = [case for case in cases if not case.label]
        split |= {TRANSFER: [case for case in frozen.assign([*kept, *unlabelled])[TRAIN] if not case.label]}
    if leaks := frozen.leaks([*split[TRAIN], *split.get(TRANSFER, ())]):
        raise ValueError(f"these cases must not be used for training: {'; '.join(leaks)}")
    return split


def _train_network(
    app: AppSpec, task: TaskSpec, start: RunStart, workdir: Path, device: torch.device, report: ProgressCallback
) -> tuple[nn.Module, Result, Calibration | None]:
    """Return the trained network, the result with its best weights, and the calibration."""
    app_dir = workdir.parents[3]
    parent = find_weights(app_dir, task, start.parent) if start.parent else None
    network = build_network(task, parent.path if parent else None, seed=start.recipe.seed, grow=True)
    run = TrainingRun(
        start.recipe,
        start.split[TRAIN],
        start.split[VAL],
        workdir,
        cache=workdir.parents[1] / "cache",
        device=device,
        report=report,
        transfer_cases=start.split.get(TRANSFER, ()),
        teacher=load_teacher(app_dir, teacher_of(app, task), start.teacher) if start.teacher else None,
    )
    return network, *kind_of(task).learn(task, network, run)


def _call_all(*callbacks: ProgressCallback | None) -> ProgressCallback:
    def report(progress: TrainingProgress) -> None:
        for callback in callbacks:
            if callback is not None:
                callback(progress)

    return report


def _describe_provenance(
    split: Mapping[str, Sequence[Case]], card: Mapping[str, Any], labels: LabelVersions
) -> dict[str, Any]:
    """Return the facts about a version for the ledger: its parent, the parts of the split and the training labels."""
    learned = {c.id: {"image": labels.hash(c.image), "label": labels.hash(c.label)} for c in split[TRAIN] if c.label}
    parts = {part: [case.id for case in split[part]] for part in (VAL, HELD_OUT)}
    return (
        {key: card[key] for key in ("parent", "recipe", "code_version", "label_schema")}
        | parts
        | {"trained_on": learned}
    )


def _build_card(
    task: TaskSpec,
    start: RunStart,
    result: Result,
    comparison: Comparison,
    chosen: Calibration | None,
    teacher: Mapping[str, Any],
) -> dict[str, Any]:
    assert task.train is not None, "only a task with `train` is trained"
    split = start.split
    files = {case.id: [case.image, case.label] for case in split[TRAIN] if case.label}
    notes = {
        **({"counts": asdict(task.counts)} if task.counts else {"image": asdict(task.image)}),
        "held_out": [case.id for case in split[HELD_OUT]],
        "gate": asdict(comparison.decision),
        **teacher,
    }
    if start.teacher:
        notes[TRANSFER] = [case.id for case in split.get(TRANSFER, ())]
    notes["background_shift"] = chosen.shift if chosen else 0.0
    card = Card(
        model=task.model,
        labels=task.labels,
        recipe={"name": task.train.recipe, **asdict(start.recipe)},
        data=hash_data(files),
        label_schema=hash_labels(task.labels),
        metrics=[
            {"case": judged.case, task.gate.metric: dict(judged.scores)}
            | ({"cl_dice": judged.cl_dice} if task.gate.metric == DICE else {})
            for judged in comparison.challenger
        ],
        parent=start.parent,
        code_version=find_code_version(),
        notes=notes | {"steps": result.steps, "seconds": round(result.seconds, 1), "stopped": result.stopped},
    )
    return card.as_dict()
