"""Which weights a task is served with: the champion among its versions, else the starter that came with the app."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.jobs.judge import broken_weight
from lib.jobs.publish import Shelf
from lib.jobs.watch import BrokenOutput
from lib.models.weights import load_weights
from lib.records.card import hash_labels
from lib.records.ledger import Ledger
from lib.records.versions import CARD, STARTER, WEIGHTS, Version, champion, find_version
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.kinds import KINDS


class NoWeights(RuntimeError):
    """Raised when a task has neither a champion nor a starter: a network of random weights answers nobody."""


class SchemaMismatch(ValueError):
    """Raised for a version whose classes are not those of app.toml: its numbers would name the wrong parts."""


@dataclass(frozen=True)
class ServedWeights:
    """A version of a task's weights.

    Args:
        name: The version's name, or "starter".
        path: The safetensors file.
        card: What is recorded of its making.
    """

    name: str
    path: Path
    card: dict[str, Any] = field(default_factory=dict, compare=False)


def versions_dir(app_dir: str | Path, task: TaskSpec) -> Path:
    """Return the folder of a task's versions."""
    return Path(app_dir) / "model" / task.name


def shelf(app_dir: str | Path, task: TaskSpec) -> Shelf:
    """Return the versions of a task with the ledger that they are recorded in."""
    app_dir = Path(app_dir)
    starter = _starter(app_dir, task).is_file()
    return Shelf(app_dir, task.name, versions_dir(app_dir, task), Ledger.of(app_dir), starter)


def check_schema(task: TaskSpec, name: str, card: Mapping[str, Any]) -> None:
    """Refuse a version of other classes, or of the same in another order.

    Args:
        task: The task.
        name: The version's name.
        card: Its card; one without a schema passes, and its shape is checked when it is loaded.
    Raises:
        SchemaMismatch: With both lists, and what to do.
    """
    if card.get("label_schema") in (None, "", hash_labels(task.labels)):
        return
    theirs = ", ".join(card.get("labels", ())) or "other labels"
    raise SchemaMismatch(
        f"version {name} of task '{task.name}' gives {theirs}, and app.toml declares {', '.join(task.labels)}: restore "
        "the labels in app.toml, or train the task anew"
    )


def served_weights(app_dir: str | Path, task: TaskSpec) -> ServedWeights:
    """Return what serves a task now.

    Args:
        app_dir: The app's folder.
        task: The task.
    Raises:
        NoWeights: If there is nothing to serve, with what to do.
        SchemaMismatch: If what is served gives other labels than app.toml declares.
    """
    version = champion(versions_dir(app_dir, task))
    served = _as_served(version) if version is not None else _as_starter(app_dir, task)
    check_schema(task, served.name, served.card)
    return served


def weights_named(app_dir: str | Path, task: TaskSpec, name: str) -> ServedWeights:
    """Return the weights of a version, or the starter's.

    Raises:
        ValueError: If there is no such version.
        NoWeights: If there is no starter.
    """
    if name == STARTER:
        return _as_starter(app_dir, task)
    return _as_served(find_version(versions_dir(app_dir, task), name))


def _as_served(version: Version) -> ServedWeights:
    return ServedWeights(version.name, version.weights_path, version.card)


def _as_starter(app_dir: str | Path, task: TaskSpec) -> ServedWeights:
    weights = _starter(app_dir, task)
    if not weights.is_file():
        raise NoWeights(
            f"task '{task.name}' has no weights: put a starter at {STARTER}/{task.model}/weights.safetensors "
            "(`make starter` trains those of the apps that come along) or train the task on labelled studies"
        )
    card = weights.with_name(CARD)
    return ServedWeights(STARTER, weights, json.loads(card.read_text()) if card.is_file() else {})


def _starter(app_dir: str | Path, task: TaskSpec) -> Path:
    return Path(app_dir) / STARTER / task.model / WEIGHTS


def build_network(task: TaskSpec, weights: Path | None = None, *, seed: int = 0) -> nn.Module:
    """Return a task's network on the CPU, in evaluation mode.

    Args:
        task: The task.
        weights: Safetensors file to load; None leaves the network as it is initialised.
        seed: Of that beginning.
    Raises:
        WeightsMismatch: If the file's weights are those of another network.
        BrokenOutput: If a weight holds values that are no numbers.
        NoFoundation: If the weights that a prompted network stands on are not there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = KINDS[task.kind].build_network(task)
    if weights is not None:
        load_weights(network, weights)
        if name := broken_weight(network.state_dict()):
            raise BrokenOutput(f"{weights.parent.name} cannot serve: {name} holds values that are no numbers")
    return network.eval()
