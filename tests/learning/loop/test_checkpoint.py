"""Checkpoints: written atomically, loaded without executing code, and resumed with the same options only."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.learning.loop.checkpoint import (
    load_checkpoint,
    random_state,
    require_same_groups,
    require_same_options,
    restore_random_state,
    save_checkpoint,
)


def draw_numbers() -> list[float]:
    return [random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(1))]


def test_random_state_is_restored_from_a_checkpoint(tmp_path: Path) -> None:
    draw_numbers()
    save_checkpoint(tmp_path / "c.pt", {"random": random_state()})
    first = draw_numbers()
    assert draw_numbers() != first
    restore_random_state(load_checkpoint(tmp_path / "c.pt")["random"])
    assert draw_numbers() == first


def test_a_failed_write_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "c.pt", {"step": 1})

    def fail(state: Any, file: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path / "c.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


class CodeOnLoad:
    """An object whose pickle executes code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


def test_a_checkpoint_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"step": CodeOnLoad()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.pt")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("change", "allowed"), [("max_epochs", True), ("num_workers", True), ("learning_rate", False)])
def test_a_resumed_run_may_change_its_length_and_workers_but_not_its_learning_rate(change: str, allowed: bool) -> None:
    options = {"max_epochs": 3, "num_workers": 0, "learning_rate": 0.1}
    if allowed:
        require_same_options(options, options | {change: 9})
        return
    with pytest.raises(ValueError, match=r"learning_rate 0\.1 -> 9"):
        require_same_options(options, options | {change: 9})


def test_other_parameters_with_weight_decay_are_refused() -> None:
    """A checkpoint of an earlier version, whose weight decay had other parameters."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW([{"params": [layer.weight]}, {"params": [layer.bias]}])
    require_same_groups(optimizer.state_dict(), optimizer)
    other = torch.optim.AdamW([{"params": [layer.weight, layer.bias]}])
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters .* has \[1, 1\]: start a new training"):
        require_same_groups(other.state_dict(), optimizer)
