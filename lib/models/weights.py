"""Save and load the weights of a network as safetensors, the only supported format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

MAX_NAMES_SHOWN = 5
NEW_CLASS_LOGIT = -5.0
"""Logit of a new class, relative to the background's: at first a new class has at most 1/148 of its probability."""


class WeightsMismatch(ValueError):
    """Raised when the weights in a file do not fit the network that they are loaded into."""


def save_weights(network: nn.Module, path: str | Path) -> Path:
    """Write the state dict of a network to `path`.

    Args:
        network: The network, on any device.
        path: A path that ends in ``.safetensors``.
    Returns:
        `path`.
    Raises:
        ValueError: If the path has another suffix.
    """
    path = _safetensors(path)
    # Clone every tensor, because safetensors rejects tensors that share storage.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(state, path)
    return path


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load the weights at `path` into a network; names and shapes must agree exactly.

    Args:
        network: The network; changed in place, but only if all weights fit.
        path: A safetensors file.
    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a complete safetensors file.
        WeightsMismatch: If names or shapes differ; the message lists the differences.
    """
    _load_state(network, _read_state(path), path)


def load_grown_weights(network: nn.Module, path: str | Path, before: int, now: int) -> None:
    """Load the weights at `path` into a network with more classes, which follow those of the file.

    The outputs of the known classes stay as they are. The output layers are those whose parameters differ in one axis,
    of size `before` in the file and `now` in the network; a new class gets the background's weights, and
    `NEW_CLASS_LOGIT` more in its bias.

    Args:
        network: The network; changed in place, but only if all other weights fit.
        path: A safetensors file.
        before: Number of classes in the file, with background.
        now: Number of classes of the network, with background.
    Raises:
        FileNotFoundError, ValueError, WeightsMismatch: As `load_weights`.
    """
    known, state = network.state_dict(), _read_state(path)
    grown = {
        name: _grow(value, known[name].shape, before, now) if name in known else value for name, value in state.items()
    }
    _load_state(network, grown, path)


def _grow(old: torch.Tensor, shape: torch.Size, before: int, now: int) -> torch.Tensor:
    """Return a parameter with entries for new classes; any other parameter is returned as it is."""
    axes = [axis for axis, sizes in enumerate(zip(old.shape, shape, strict=False)) if sizes == (before, now)]
    for axis in axes:
        if (*old.shape[:axis], now, *old.shape[axis + 1 :]) == tuple(shape):
            new = old.narrow(axis, 0, 1).repeat_interleave(now - before, axis)
            return torch.cat([old, new + NEW_CLASS_LOGIT if old.ndim == 1 else new], axis)
    return old


def _read_state(path: str | Path) -> dict[str, torch.Tensor]:
    path = _safetensors(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a whole safetensors file: {error}") from error


def _load_state(network: nn.Module, state: dict[str, torch.Tensor], path: str | Path) -> None:
    if problems := _differences(network.state_dict(), state):
        name, kind = Path(path).name, type(network).__name__
        raise WeightsMismatch(f"{name} does not fit this {kind}: {'; '.join(problems)}")
    network.load_state_dict(state, strict=True)


def find_nonfinite_weight(state: Mapping[str, torch.Tensor]) -> str:
    """Return the name of the first weight with NaN or infinite values; empty if there is none."""
    return next((name for name, value in state.items() if not torch.isfinite(value).all()), "")


def _safetensors(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are read and written as .safetensors only, got {path.name}")
    return path


def _differences(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> list[str]:
    shapes = [
        f"{name} {tuple(found[name].shape)} where {tuple(expected[name].shape)} is needed"
        for name in expected.keys() & found.keys()
        if expected[name].shape != found[name].shape
    ]
    missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
    differences = {"missing": missing, "unexpected": unexpected, "shape": shapes}
    return [f"{len(names)} {kind} ({_join_first(names)})" for kind, names in differences.items() if names]


def _join_first(names) -> str:
    shown = sorted(names)
    return ", ".join(shown[:MAX_NAMES_SHOWN]) + (", ..." if len(shown) > MAX_NAMES_SHOWN else "")
