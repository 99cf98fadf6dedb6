"""Learn from submitted labels: a new version, served only if the gate finds it no worse on patients it never saw."""

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

from lib.data.cases import Case, find_cases
from lib.jobs.gate import DICE, PUBLISH, REJECT, Decision
from lib.jobs.publish import Shelf, carry_out, decision_about, register
from lib.jobs.recorded import recorded
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.learning.loop.progress import Report, Standing, default_report
from lib.learning.recipes.recipe import Recipe
from lib.models.inference.engine import device_of
from lib.records.card import Card, find_code_version, hash_data, hash_labels
from lib.records.labels import LabelVersions
from lib.records.split import HELD_OUT, TRAIN, VAL, FrozenSplit
from lib.records.versions import find_version, list_versions, new_name, write_version
from lib.tasks.kinds import kind_of
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.models import settle, show_in_mlflow
from lib.tasks.serving.teacher import TEACHER, load_teacher, moved_on, teacher_of, told
from lib.tasks.serving.weights import build_network, served_weights, shelf, weights_named
from lib.tasks.spec import AppSpec, SpecError, TaskSpec, load_app
from lib.tasks.training.run_start import OUTCOME, TRANSFER, Start, close
from lib.tasks.training.synthesis import synthetic_cases
from lib.tasks.training.training_stats import TrainingStats
from lib.tasks.training.trial import Trial, mean_score, served_or_none, try_out

logger = logging.getLogger(__name__)

FINAL = "final"
RUNS = "runs"


@dataclass(frozen=True)
class Outcome:
    """What a training led to.

    Args:
        version: The version written.
        published: Whether it is served now.
        verdict: The gate's word: "publish", "hold" or "reject".
        reason: Why.
        score: Its mean Dice on the held-out cases; nan if nothing there could be scored.
        parent: The version it started from; empty if from scratch.
        parent_score: The served version's on the same cases.
        train_cases: Cases learned from.
        val_cases: Cases that chose the epoch and the background's level.
        held_out_cases: Cases that judged.
        seconds: Time spent.
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
        """Return it as JSON can say it, None for nan."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def retrain(
    app_dir: str | Path,
    task: TaskSpec | str,
    studies: str | Path | Sequence[Case],
    options: Mapping[str, Any] | None = None,
    *,
    device: str | torch.device | None = None,
    run: str = "",
    report: Report | None = None,
) -> Outcome:
    """Train a task on labelled cases and publish the new version if the gate allows.

    A run of the same name goes on where it was interrupted, whenever that was: with the cases, labels and options it
    began with, from its last checkpoint, and to one version and one decision.

    Args:
        app_dir: The app's folder.
        task: The task, or its name.
        studies: Cases, or a folder of images with their labels in ``labels/final``; cases without a label are left out,
            unless a teacher's outputs are learned from.
        options: Of the recipe, over those of app.toml.
        device: Where to train; None takes a GPU if there is one.
        run: Its name, which the version bears as well; empty for a new one.
        report: Told of every step, beside the log.
    Returns:
        What came of it.
    Raises:
        ValueError: If the task is not trained, an option is unknown, or fewer than two patients have labels.
    """
    began = time.monotonic()
    app = load_app(app_dir)
    task = app.task(task) if isinstance(task, str) else task
    place = shelf(app_dir, task)
    settle(app_dir, task)
    run = run or new_name()
    workdir = place.root / RUNS / run
    if (workdir / OUTCOME).is_file():
        return Outcome(**json.loads((workdir / OUTCOME).read_text()))
    labels = LabelVersions(app_dir, place.ledger)
    start, resumed = _start(app, task, studies, options or {}, labels, workdir)
    device = device_of(device)
    with (
        recorded(place.ledger, task.name, run, resumed=resumed) as job,
        TrainingStats(place.root, start.recipe.max_epochs) as stats,
    ):
        split = start.split
        logger.info("training %s: %s", task.name, ", ".join(f"{len(each)} {part}" for part, each in split.items()))
        network, result, chosen = _learn(
            app, task, start, workdir, device, _all(stats.report, default_report(), report)
        )
        trial, decision = _decide(app, task, network, start, place, device, (result, chosen, run), labels)
        job |= {"version": run, "verdict": decision.verdict}
        outcome = Outcome(
            version=run,
            published=decision.verdict == PUBLISH,
            verdict=decision.verdict,
            reason=decision.reason,
            score=mean_score(trial.challenger),
            parent=start.parent,
            parent_score=mean_score(trial.champion),
            train_cases=len(split[TRAIN]),
            val_cases=len(split[VAL]),
            held_out_cases=len(split[HELD_OUT]),
            seconds=time.monotonic() - began,
        )
        stats.finish(outcome.as_dict())
    close(workdir, asdict(outcome))
    show_in_mlflow(place)
    state = {"publish": "served now", "hold": "held for the admin's word"}.get(decision.verdict, "kept, not served")
    logger.info("version %s is %s: %s", run, state, decision.reason)
    return outcome


def _start(
    app: AppSpec,
    task: TaskSpec,
    studies: str | Path | Sequence[Case],
    options: Mapping[str, Any],
    labels: LabelVersions,
    workdir: Path,
) -> tuple[Start, bool]:
    """Return what a run began with, written down now if it is new, and whether it was not."""
    if start := Start.read(workdir, task):
        return start, True
    recipe = _recipe(task, options)
    cases = find_cases(studies, pattern=app.patient_pattern) if isinstance(studies, str | Path) else studies
    teacher = served_weights(labels.app_dir, teacher_of(app, task)).name if task.teacher else ""
    split = _split(app, labels, cases, transfer=bool(teacher))
    if teacher:
        # Made of the training part alone, so there is nobody in them to be kept apart.
        split[TRANSFER] += synthetic_cases(labels.app_dir, task)
    parent = served_or_none(labels.app_dir, task)
    start = Start(parent.name if parent else "", recipe, split, teacher)
    start.write(workdir)
    return start, False


def _decide(
    app: AppSpec,
    task: TaskSpec,
    network: nn.Module,
    start: Start,
    place: Shelf,
    device: torch.device,
    learned: tuple[Result, Calibration | None, str],
    labels: LabelVersions,
) -> tuple[Trial, Decision]:
    """Write the version, judge it and do what the gate says, each of them once however often this is begun."""
    result, chosen, run = learned
    if decision := decision_about(place, run):
        return Trial(decision, ""), decision
    trial = try_out(app, task, network, start.split, place, device)
    taught = {TEACHER: told(place.app_dir, teacher_of(app, task), start.teacher)} if start.teacher else {}
    if why := moved_on(place.app_dir, app, task, {"notes": taught}):
        late = replace(trial.decision, verdict=REJECT, reasons=(why, *trial.decision.reasons))
        trial = replace(trial, decision=late)
    if not any(version.name == run for version in list_versions(place.root)):
        write_version(place.root, result.state_dict, _card(task, start, result, trial, chosen, taught), name=run)
    version = find_version(place.root, run)
    register(place, version, _provenance(start.split, version.card, labels))
    return trial, carry_out(place, run, trial.decision, against=trial.against)


def _recipe(task: TaskSpec, options: Mapping[str, Any]) -> Recipe:
    if task.train is None:
        raise SpecError(f"task '{task.name}' has no `train` in app.toml: it is not trained")
    base = task.train.options
    return type(base).from_options({**asdict(base), **options})


def _split(app: AppSpec, labels: LabelVersions, cases: Sequence[Case], *, transfer: bool) -> dict[str, list[Case]]:
    """Return the parts, each label as the version that stays: a label submitted meanwhile is for the next training.

    Cases without a label are assigned as well before they teach: who will judge once there is a label is never seen.
    """
    if len({case.patient for case in cases if case.label}) < 2:
        raise ValueError("training needs labels of two patients at least, one of them held out: submit another label")
    kept = [replace(c, label=labels.adopt(c.id, c.image, FINAL, c.label)) for c in cases if c.label]
    frozen = FrozenSplit(labels.ledger, held_out_patients=app.held_out_patients, hash_image=labels.hash)
    split = frozen.assign(kept)
    if transfer:
        bare = [case for case in cases if not case.label]
        split |= {TRANSFER: [case for case in frozen.assign([*kept, *bare])[TRAIN] if not case.label]}
    if leaks := frozen.leaks([*split[TRAIN], *split.get(TRANSFER, ())]):
        raise ValueError(f"the training list leaks: {'; '.join(leaks)}")
    return split


def _learn(
    app: AppSpec, task: TaskSpec, start: Start, workdir: Path, device: torch.device, report: Report
) -> tuple[nn.Module, Result, Calibration | None]:
    """Return the best network, calibrated, and the result with its weights."""
    app_dir = workdir.parents[3]
    parent = weights_named(app_dir, task, start.parent) if start.parent else None
    network = build_network(task, parent.path if parent else None, seed=start.recipe.seed)
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


def _all(*reports: Report | None) -> Report:
    def report(standing: Standing) -> None:
        for each in reports:
            if each is not None:
                each(standing)

    return report


def _provenance(split: Mapping[str, Sequence[Case]], card: Mapping[str, Any], labels: LabelVersions) -> dict[str, Any]:
    """Return what the ledger keeps of a version: its parent and every label that it learned from."""
    learned = {c.id: {"image": labels.hash(c.image), "label": labels.hash(c.label)} for c in split[TRAIN] if c.label}
    parts = {part: [case.id for case in split[part]] for part in (VAL, HELD_OUT)}
    return (
        {key: card[key] for key in ("parent", "recipe", "code_version", "label_schema")}
        | parts
        | {"trained_on": learned}
    )


def _card(
    task: TaskSpec,
    start: Start,
    result: Result,
    trial: Trial,
    chosen: Calibration | None,
    taught: Mapping[str, Any],
) -> dict[str, Any]:
    assert task.train is not None, "only a task that trains gets here"
    split = start.split
    files = {case.id: [case.image, case.label] for case in split[TRAIN] if case.label}
    notes = {
        **({"counts": asdict(task.counts)} if task.counts else {"image": asdict(task.image)}),
        "held_out": [case.id for case in split[HELD_OUT]],
        "gate": asdict(trial.decision),
        **taught,
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
            {"case": each.case, task.gate.metric: dict(each.scores)}
            | ({"cl_dice": each.cl_dice} if task.gate.metric == DICE else {})
            for each in trial.challenger
        ],
        parent=start.parent,
        code_version=find_code_version(),
        notes=notes | {"steps": result.steps, "seconds": round(result.seconds, 1), "stopped": result.stopped},
    )
    return card.as_dict()
