"""Checkpoints that a killed writer cannot halve and that load without running code."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.files.atomic import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` whole or not at all.

    Args:
        path: Where to; what stands there is replaced in one step.
        state: Tensors, numbers, strings, lists and dicts: what ``weights_only`` loading accepts.
    """
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what :func:`save_checkpoint` wrote, tensors on the CPU.

    Args:
        path: The checkpoint.
    Returns:
        The state.
    Raises:
        ValueError: If the file cannot be read, with what to do.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:
        raise ValueError(f"checkpoint {path.name} cannot be read ({fault}); remove it to train afresh") from fault


def random_state() -> dict[str, Any]:
    """Return the state of every random generator the loop uses, in types that load safely."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set every random generator back to what :func:`random_state` saw."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])


def same_recipe(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuse to resume under options that change what is learned.

    Args:
        saved: Options in the checkpoint.
        current: Options now.
    Raises:
        ValueError: If they differ in more than how long, on how many workers, and how often judged.
    """
    free = {"max_epochs", "max_minutes", "early_stop_patience", "val_interval", "num_workers", "amp"}
    changed = [
        f"{name} {saved.get(name)!r} -> {current.get(name)!r}"
        for name in sorted((set(saved) | set(current)) - free)
        if saved.get(name) != current.get(name)
    ]
    if changed:
        raise ValueError(f"the checkpoint was trained with other options ({'; '.join(changed)}): train elsewhere")
