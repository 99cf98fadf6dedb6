"""Which weights a task is served with: the champion among its versions, else the starter that came with the app."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.models import BUILDERS
from lib.models.weights import load_weights
from lib.records.versions import champion
from lib.tasks.spec import TaskSpec

STARTER = "starter"


class NoWeights(RuntimeError):
    """Raised when a task has neither a champion nor a starter: a network of random weights answers nobody."""


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


def served_weights(app_dir: str | Path, task: TaskSpec) -> ServedWeights:
    """Return what serves a task now.

    Args:
        app_dir: The app's folder.
        task: The task.
    Raises:
        NoWeights: If there is nothing to serve, with what to do.
    """
    version = champion(versions_dir(app_dir, task))
    if version is not None:
        return ServedWeights(version.name, version.weights_path, version.card)
    starter = Path(app_dir) / STARTER / task.model
    weights = starter / "weights.safetensors"
    if not weights.is_file():
        raise NoWeights(
            f"task '{task.name}' has no weights: put a starter at {STARTER}/{task.model}/weights.safetensors "
            "(`make starter` trains it) or train the task on labelled studies"
        )
    card = starter / "card.json"
    return ServedWeights(STARTER, weights, json.loads(card.read_text()) if card.is_file() else {})


def build_network(task: TaskSpec, weights: Path | None = None) -> nn.Module:
    """Return a task's network on the CPU, in evaluation mode.

    Args:
        task: The task.
        weights: Safetensors file to load; None leaves the network as it is initialised.
    Raises:
        WeightsMismatch: If the file's weights are those of another network.
    """
    with torch.random.fork_rng(devices=[]):
        network = BUILDERS[task.model](
            spatial_dims=task.dimension,
            in_channels=len(task.image.slice_offsets),
            out_channels=len(task.labels) + 1,
        )
    if weights is not None:
        load_weights(network, weights)
    return network.eval()
