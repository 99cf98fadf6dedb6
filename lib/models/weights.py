"""A network's weights in a safetensors file, the only format read or written."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

SHOWN = 5


class WeightsMismatch(ValueError):
    """Raised when a file's weights are not those of the network they are loaded into."""


def save_weights(network: nn.Module, path: str | Path) -> Path:
    """Write a network's state to `path`.

    Args:
        network: The network, on any device.
        path: A name that ends in ``.safetensors``.
    Returns:
        `path`.
    Raises:
        ValueError: If the name ends otherwise.
    """
    path = _safetensors(path)
    # A clone each: safetensors refuses tensors that share storage.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(state, path)
    return path


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load the weights at `path` into a network, every one and no other.

    Args:
        network: The network, changed in place only where all weights fit.
        path: A safetensors file.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not safetensors.
        WeightsMismatch: If names or shapes differ; the message lists them.
    """
    path = _safetensors(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a whole safetensors file: {error}") from error
    if problems := _differences(network.state_dict(), state):
        raise WeightsMismatch(f"{path.name} does not fit this {type(network).__name__}: {'; '.join(problems)}")
    network.load_state_dict(state, strict=True)


def _safetensors(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are read and written as .safetensors only, got {path.name}")
    return path


def _differences(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[str]:
    shapes = [
        f"{name} {tuple(theirs[name].shape)} where {tuple(ours[name].shape)} is needed"
        for name in ours.keys() & theirs.keys()
        if ours[name].shape != theirs[name].shape
    ]
    found = {"missing": ours.keys() - theirs.keys(), "unexpected": theirs.keys() - ours.keys(), "shape": shapes}
    return [f"{len(names)} {kind} ({_first(names)})" for kind, names in found.items() if names]


def _first(names) -> str:
    shown = sorted(names)
    return ", ".join(shown[:SHOWN]) + (", ..." if len(shown) > SHOWN else "")
