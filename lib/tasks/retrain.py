"""Learn from submitted labels: a new version, served only if the gate finds it no worse on patients it never saw."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.data.cases import Case, find_cases
from lib.jobs.gate import PUBLISH
from lib.jobs.judge import broken_weight
from lib.jobs.publish import carry_out, register
from lib.learning.calibrate import Calibration, calibrate
from lib.learning.loop import Result, train
from lib.learning.loop.progress import Report, Standing, default_report
from lib.learning.recipe import Recipe
from lib.records.card import Card, find_code_version, hash_data, hash_labels
from lib.records.engine import LedgerUnavailable
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.split import HELD_OUT, TRAIN, VAL, FrozenSplit
from lib.records.versions import find_version, write_version
from lib.tasks.models import settle, show_in_mlflow
from lib.tasks.spec import AppSpec, SpecError, TaskSpec, load_app
from lib.tasks.training_stats import TrainingStats
from lib.tasks.trial import Trial, mean_dice, served_or_none, try_out
from lib.tasks.weights import ServedWeights, build_network, shelf

logger = logging.getLogger(__name__)

FINAL = "final"


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
) -> Outcome:
    """Train a task on labelled cases and publish the new version if the gate allows.

    Args:
        app_dir: The app's folder.
        task: The task, or its name.
        studies: Cases, or a folder of images with their labels in ``labels/final``; cases without a label are left out.
        options: Of the recipe, over those of app.toml.
        device: Where to train; None takes a GPU if there is one.
    Returns:
        What came of it.
    Raises:
        ValueError: If the task is not trained, an option is unknown, or fewer than two patients have labels.
    """
    began = time.monotonic()
    app = load_app(app_dir)
    task = app.task(task) if isinstance(task, str) else task
    recipe = _recipe(task, options or {})
    cases = find_cases(studies, pattern=app.patient_pattern) if isinstance(studies, str | Path) else studies
    place = shelf(app_dir, task)
    settle(app_dir, task)
    labels = LabelVersions(app_dir, place.ledger)
    split = _split(app, labels, [case for case in cases if case.label])
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with _job(place.ledger, task.name) as job, TrainingStats(place.root, recipe.max_epochs) as stats:
        parent = served_or_none(app_dir, task)
        logger.info("training %s: %s", task.name, ", ".join(f"{len(each)} {part}" for part, each in split.items()))
        network, result, chosen = _learn(task, recipe, split, parent, place.root, device, stats)
        trial = try_out(app, task, network, split, place, device)
        card = _card(task, recipe, split, result, parent, trial, chosen)
        path = write_version(place.root, result.state_dict, card)
        register(place, find_version(place.root, path.name), _provenance(split, card, labels))
        decision = carry_out(place, path.name, trial.decision, against=trial.against)
        job |= {"version": path.name, "verdict": decision.verdict}
        outcome = Outcome(
            version=path.name,
            published=decision.verdict == PUBLISH,
            verdict=decision.verdict,
            reason=decision.reason,
            score=mean_dice(trial.challenger),
            parent=parent.name if parent else "",
            parent_score=mean_dice(trial.champion),
            train_cases=len(split[TRAIN]),
            val_cases=len(split[VAL]),
            held_out_cases=len(split[HELD_OUT]),
            seconds=time.monotonic() - began,
        )
        stats.finish(outcome.as_dict())
    show_in_mlflow(place)
    state = {"publish": "served now", "hold": "held for the admin's word"}.get(decision.verdict, "kept, not served")
    logger.info("version %s is %s: %s", path.name, state, decision.reason)
    return outcome


def _recipe(task: TaskSpec, options: Mapping[str, Any]) -> Recipe:
    if task.train is None:
        raise SpecError(f"task '{task.name}' has no `train` in app.toml: it is not trained")
    base = task.train.options
    return type(base).from_options({**asdict(base), **options})


def _split(app: AppSpec, labels: LabelVersions, cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the parts, each label as the version that stays: a label submitted meanwhile is for the next training."""
    if len({case.patient for case in cases}) < 2:
        raise ValueError("training needs labels of two patients at least, one of them held out: submit another label")
    kept = [replace(c, label=labels.adopt(c.id, c.image, FINAL, c.label)) for c in cases if c.label]
    frozen = FrozenSplit(labels.ledger, held_out_patients=app.held_out_patients, hash_image=labels.hash)
    split = frozen.assign(kept)
    if leaks := frozen.leaks(split[TRAIN]):
        raise ValueError(f"the training list leaks: {'; '.join(leaks)}")
    return split


@contextmanager
def _job(ledger: Ledger, task: str) -> Iterator[dict[str, Any]]:
    """Record that a training began and how it ended; what the block puts into the yielded dict is recorded too."""
    name = f"train-{time.strftime('%Y%m%d-%H%M%S')}"
    ledger.append("job", task, {"job": name, "state": "started"})
    facts: dict[str, Any] = {}
    try:
        yield facts
    except BaseException as error:
        facts |= {"reason": f"{type(error).__name__}: {error}"}
        # The ledger may be what failed; the first error is the one to tell.
        with suppress(LedgerUnavailable):
            ledger.append("job", task, {"job": name, "state": "failed", **facts})
        raise
    ledger.append("job", task, {"job": name, "state": "done", **facts})


def _learn(
    task: TaskSpec,
    recipe: Recipe,
    split: Mapping[str, Sequence[Case]],
    parent: ServedWeights | None,
    root: Path,
    device: torch.device,
    stats: TrainingStats,
) -> tuple[nn.Module, Result, Calibration | None]:
    """Return the best network, calibrated, and the result with its weights."""
    network = build_network(task, parent.path if parent else None)
    result = train(
        recipe,
        network,
        split[TRAIN],
        split[VAL],
        spec=task.image,
        labels=task.labels,
        workdir=root / "runs" / time.strftime("%Y%m%d-%H%M%S"),
        cache=root / "cache",
        device=device,
        progress=_both(stats.report, default_report()),
        resume=False,
    )
    network.load_state_dict(result.state_dict)
    if broken_weight(result.state_dict):
        return network, result, None
    chosen = calibrate(network, split[VAL], task.image, task.labels, device=device)
    if chosen is not None:
        result = replace(
            result, state_dict={name: value.detach().cpu() for name, value in network.state_dict().items()}
        )
    return network, result, chosen


def _both(first: Report, second: Report) -> Report:
    def report(standing: Standing) -> None:
        first(standing)
        second(standing)

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
    recipe: Recipe,
    split: Mapping[str, Sequence[Case]],
    result: Result,
    parent: ServedWeights | None,
    trial: Trial,
    chosen: Calibration | None,
) -> dict[str, Any]:
    assert task.train is not None, "only a task that trains gets here"
    files = {case.id: [case.image, case.label] for case in split[TRAIN] if case.label}
    notes = {
        "image": asdict(task.image),
        "held_out": [case.id for case in split[HELD_OUT]],
        "gate": asdict(trial.decision),
    }
    notes["background_shift"] = chosen.shift if chosen else 0.0
    card = Card(
        model=task.model,
        labels=task.labels,
        recipe={"name": task.train.recipe, **asdict(recipe)},
        data=hash_data(files),
        label_schema=hash_labels(task.labels),
        metrics=[{"case": each.case, "dice": dict(each.dice), "cl_dice": each.cl_dice} for each in trial.challenger],
        parent=parent.name if parent else "",
        code_version=find_code_version(),
        notes=notes | {"steps": result.steps, "seconds": round(result.seconds, 1), "stopped": result.stopped},
    )
    return card.as_dict()
