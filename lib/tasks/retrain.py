"""Learn from submitted labels: a new version, served only if it is no worse on studies it never saw."""

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lib.data.cases import Case, find_cases
from lib.data.split import split_by_patient
from lib.learning.calibrate import Calibration, calibrate
from lib.learning.loop import Result, train
from lib.learning.loop.progress import Report, Standing, default_report
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import CaseScore, Validation, mean_score
from lib.learning.recipe import Recipe
from lib.records.card import Card, find_code_version, hash_data, hash_labels
from lib.records.versions import set_champion, write_version
from lib.tasks.spec import SpecError, TaskSpec, load_app
from lib.tasks.training_stats import TrainingStats
from lib.tasks.weights import NoWeights, ServedWeights, build_network, served_weights, versions_dir

logger = logging.getLogger(__name__)

FRACTIONS = {"train": 0.8, "val": 0.2}
SPLIT_FILE = "split.json"


@dataclass(frozen=True)
class Outcome:
    """What a training led to.

    Args:
        version: The version written.
        published: Whether it is served now.
        reason: Why, or why not.
        score: Its mean Dice on the held-out cases; nan if nothing there could be scored.
        parent: The version it started from; empty if from scratch.
        parent_score: The parent's on the same cases.
        train_cases: Cases learned from.
        val_cases: Cases held out.
        seconds: Time spent.
    """

    version: str
    published: bool
    reason: str
    score: float
    parent: str
    parent_score: float
    train_cases: int
    val_cases: int
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
    """Train a task on labelled cases and publish the new version if the held-out cases allow.

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
    task = load_app(app_dir).task(task) if isinstance(task, str) else task
    recipe = _recipe(task, options or {})
    cases = find_cases(studies) if isinstance(studies, str | Path) else studies
    root = versions_dir(app_dir, task)
    split = _split([case for case in cases if case.label], root)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    parent = _parent(app_dir, task)
    parent_scores = _judge(task, parent, split["val"], device)
    workdir = root / "runs" / time.strftime("%Y%m%d-%H%M%S")
    logger.info(
        "training %s on %d cases, %d held out, in %s", task.name, len(split["train"]), len(split["val"]), workdir
    )
    with TrainingStats(root, recipe.max_epochs) as stats:
        network = build_network(task, parent.path if parent else None)
        result = train(
            recipe,
            network,
            split["train"],
            split["val"],
            spec=task.image,
            labels=task.labels,
            workdir=workdir,
            cache=root / "cache",
            device=device,
            progress=_both(stats.report, default_report()),
            resume=False,
        )
        network.load_state_dict(result.state_dict)
        chosen = calibrate(network, split["val"], task.image, task.labels, device=device)
        if chosen is not None:
            weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
            result = replace(result, state_dict=weights, score=chosen.score, metrics=chosen.metrics)
        published, reason = verdict(result.score, mean_score(parent_scores) if parent_scores else None)
        path = write_version(root, result.state_dict, _card(task, recipe, split, result, parent, reason, chosen))
        if published:
            set_champion(root, path.name)
        outcome = Outcome(
            version=path.name,
            published=published,
            reason=reason,
            score=result.score,
            parent=parent.name if parent else "",
            parent_score=mean_score(parent_scores),
            train_cases=len(split["train"]),
            val_cases=len(split["val"]),
            seconds=time.monotonic() - began,
        )
        stats.finish(outcome.as_dict())
    logger.info("version %s is %s: %s", path.name, "served now" if published else "kept, not served", reason)
    return outcome


def verdict(score: float, parent_score: float | None) -> tuple[bool, str]:
    """Say whether a new version is served, and why.

    A first measure, not the whole gate: one number, on few cases, without an interval.

    Args:
        score: Mean Dice of the new version on the held-out cases.
        parent_score: The served version's on the same cases; nan if nothing there was scored, None if there is none.
    """
    if math.isnan(score):
        return False, "the held-out cases have nothing to score, so nothing says that it is no worse"
    if parent_score is None or math.isnan(parent_score):
        return True, f"mean Dice {score:.3f} on the held-out cases, and nothing to compare with"
    if score < parent_score:
        return False, f"mean Dice {score:.3f} on the held-out cases is below {parent_score:.3f} of the served version"
    return (
        True,
        f"mean Dice {score:.3f} on the held-out cases is no worse than the {parent_score:.3f} before",
    )


def _recipe(task: TaskSpec, options: Mapping[str, Any]) -> Recipe:
    if task.train is None:
        raise SpecError(f"task '{task.name}' has no `train` in app.toml: it is not trained")
    base = task.train.options
    return type(base).from_options({**asdict(base), **options})


def _split(cases: Sequence[Case], root: Path) -> dict[str, list[Case]]:
    """Return train and val by patient; who was once assigned stays, for what was trained on cannot judge."""
    file = root / SPLIT_FILE
    assigned = json.loads(file.read_text()) if file.is_file() else {}
    if len({case.patient for case in cases}) < len(FRACTIONS):
        raise ValueError("training needs labels of two patients at least, one of them held out: submit another label")
    split = split_by_patient(cases, fractions=FRACTIONS, assigned=assigned)
    assigned |= {case.patient: part for part, members in split.items() for case in members}
    root.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{SPLIT_FILE}-{os.getpid()}")
    partial.write_text(json.dumps(assigned, indent=2, sort_keys=True))
    os.replace(partial, file)
    return split


def _parent(app_dir: str | Path, task: TaskSpec) -> ServedWeights | None:
    try:
        return served_weights(app_dir, task)
    except NoWeights:
        logger.warning("task %s has no weights yet: training from scratch", task.name)
        return None


def _judge(
    task: TaskSpec, parent: ServedWeights | None, cases: Sequence[Case], device: torch.device
) -> list[CaseScore]:
    if parent is None:
        return []
    network = build_network(task, parent.path)
    return Validation(cases, task.image, task.labels)(network, Ranks(0, 1, device))


def _both(first: Report, second: Report) -> Report:
    def report(standing: Standing) -> None:
        first(standing)
        second(standing)

    return report


def _card(
    task: TaskSpec,
    recipe: Recipe,
    split: Mapping[str, Sequence[Case]],
    result: Result,
    parent: ServedWeights | None,
    reason: str,
    chosen: Calibration | None,
) -> dict[str, Any]:
    assert task.train is not None, "only a task that trains gets here"
    files = {case.id: [case.image, case.label] for case in split["train"] if case.label}
    notes = {"image": asdict(task.image), "held_out": [case.id for case in split["val"]], "verdict": reason}
    notes["background_shift"] = chosen.shift if chosen else 0.0
    card = Card(
        model=task.model,
        labels=task.labels,
        recipe={"name": task.train.recipe, **asdict(recipe)},
        data=hash_data(files),
        label_schema=hash_labels(task.labels),
        metrics=result.metrics,
        parent=parent.name if parent else "",
        code_version=find_code_version(),
        notes=notes | {"steps": result.steps, "seconds": round(result.seconds, 1), "stopped": result.stopped},
    )
    return card.as_dict()
