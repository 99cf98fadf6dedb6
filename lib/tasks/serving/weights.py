"""Find the weights that serve a task: its champion version, or else the starter that the app comes with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.jobs.failure_watch import BrokenOutput
from lib.jobs.publish import TaskVersions
from lib.models.weights import find_nonfinite_weight, load_grown_weights, load_weights
from lib.records.card import hash_labels
from lib.records.ledger import Ledger
from lib.records.versions import CARD, STARTER, WEIGHTS, Version, champion, find_version
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.kinds import KINDS


class NoWeights(RuntimeError):
    """Raised when a task has neither a champion nor a starter; a network with random weights is never served."""


class SchemaMismatch(ValueError):
    """Raised for a version whose classes are not those of app.toml: its label values would name wrong structures."""


@dataclass(frozen=True)
class ServedWeights:
    """A version of a task's weights.

    Args:
        name: Name of the version, or "starter".
        path: Safetensors file of the weights.
        card: Card of the version: how it was trained and judged.
    """

    name: str
    path: Path
    card: dict[str, Any] = field(default_factory=dict, compare=False)


def versions_dir(app_dir: str | Path, task: TaskSpec) -> Path:
    """Return the folder of a task's versions."""
    return Path(app_dir) / "model" / task.name


def open_task_versions(app_dir: str | Path, task: TaskSpec) -> TaskVersions:
    """Return the store of a task's versions, with the ledger that records them."""
    app_dir = Path(app_dir)
    starter = _starter(app_dir, task).is_file()
    return TaskVersions(app_dir, task.name, versions_dir(app_dir, task), Ledger.of(app_dir), starter)


def check_schema(task: TaskSpec, name: str, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes of a version: those of its task, or the first of them if others were added at the end since.

    Args:
        task: The task.
        name: Name of the version.
        card: Card of the version. A card without a label schema passes: loading checks the shapes of the weights.
    Raises:
        SchemaMismatch: If the classes differ; the message gives both lists and the next step.
    """
    schema = card.get("label_schema")
    if not schema:
        return task.labels
    for count in range(len(task.labels), -1, -1):
        if schema == hash_labels(task.labels[:count]):
            return task.labels[:count]
    labels = ", ".join(card.get("labels", ())) or "other labels"
    raise SchemaMismatch(
        f"version {name} of task '{task.name}' gives {labels}, and app.toml declares {', '.join(task.labels)}: restore "
        "the labels in app.toml and add new ones at the end only, or train the task again"
    )


def served_weights(app_dir: str | Path, task: TaskSpec) -> ServedWeights:
    """Return the weights that serve a task now.

    Args:
        app_dir: The app's folder.
        task: The task.
    Raises:
        NoWeights: If the task has no weights; the message gives the next step.
        SchemaMismatch: If the labels of the weights are not those of app.toml.
    """
    version = champion(versions_dir(app_dir, task))
    served = _as_served(version) if version is not None else _as_starter(app_dir, task)
    check_schema(task, served.name, served.card)
    return served


def find_weights(app_dir: str | Path, task: TaskSpec, name: str) -> ServedWeights:
    """Return the weights of a version or of the starter, by name.

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
            "(`make starter` trains the starters of the apps in this repository), or train the task on labelled studies"
        )
    return ServedWeights(STARTER, weights, _read_card(weights))


def _read_card(weights: Path) -> dict[str, Any]:
    card = weights.with_name(CARD)
    return json.loads(card.read_text()) if card.is_file() else {}


def _starter(app_dir: str | Path, task: TaskSpec) -> Path:
    return Path(app_dir) / STARTER / task.model / WEIGHTS


def build_network(task: TaskSpec, weights: Path | None = None, *, seed: int = 0, grow: bool = False) -> nn.Module:
    """Return a task's network on the CPU, in evaluation mode.

    Args:
        task: The task.
        weights: Safetensors file to load; None keeps the initial weights. If the card beside it has fewer classes than
            the task, the network has these classes.
        seed: Random seed of the initial weights.
        grow: Whether the network has all classes of the task in any case; see `load_grown_weights`.
    Raises:
        WeightsMismatch: If the file has the weights of another network.
        SchemaMismatch: If the card beside the file has other classes.
        BrokenOutput: If a weight is not finite.
        NoFoundation: If the foundation weights of a prompted network are missing.
    """
    labels = task.labels if weights is None else check_schema(task, weights.parent.name, _read_card(weights))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = KINDS[task.kind].build_network(task if grow else replace(task, labels=labels))
    if weights is not None and grow and labels != task.labels:
        load_grown_weights(network, weights, len(labels) + 1, len(task.labels) + 1)
    elif weights is not None:
        load_weights(network, weights)
    if weights is not None and (name := find_nonfinite_weight(network.state_dict())):
        raise BrokenOutput(f"version {weights.parent.name} cannot be served: its weight {name} is not finite")
    return network.eval()
