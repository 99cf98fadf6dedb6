"""Write checkpoints atomically and load them without executing code."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.files.atomic import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically: an interrupted write leaves the previous file.

    Args:
        path: File to write; an existing file is replaced in one step.
        state: Tensors, numbers, strings, lists and dicts, the types that ``weights_only`` loading accepts.
    """
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that :func:`save_checkpoint` wrote.

    Args:
        path: File of the checkpoint.
    Returns:
        The state, with its tensors on the CPU.
    Raises:
        ValueError: If the file cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:
        raise ValueError(f"checkpoint {path} cannot be read ({fault}); remove it to train from the start") from fault


def random_state() -> dict[str, Any]:
    """Return the state of the random generators that training uses, in types that ``weights_only`` loading accepts."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore every random generator to a state from :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])


def require_same_options(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuse to resume a run if an option that affects the result has changed.

    The length of the run, the validation interval, the number of workers and mixed precision may change.

    Args:
        saved: Options in the checkpoint, by name.
        current: Options of the resumed run, by name.
    Raises:
        ValueError: If another option differs.
    """
    changeable = {"max_epochs", "max_minutes", "early_stop_patience", "val_interval", "num_workers", "amp"}
    changed = [
        f"{name} {saved.get(name)!r} -> {current.get(name)!r}"
        for name in sorted((set(saved) | set(current)) - changeable)
        if saved.get(name) != current.get(name)
    ]
    if changed:
        raise ValueError(
            f"the checkpoint was trained with other options ({'; '.join(changed)}): "
            "restore these options, or use another work folder"
        )


def require_same_groups(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Refuse to resume a run whose optimiser groups other parameters: other ones had weight decay.

    Args:
        saved: State of the optimiser in the checkpoint.
        optimizer: Optimiser of the resumed run.
    Raises:
        ValueError: If the sizes of the groups differ.
    """
    found, expected = (
        [len(group["params"]) for group in groups] for groups in (saved["param_groups"], optimizer.param_groups)
    )
    if found != expected:
        raise ValueError(
            f"the checkpoint has groups of {found} parameters with and without weight decay, and this version of the "
            f"code has {expected}: start a new training, or resume with the version that wrote the checkpoint"
        )
