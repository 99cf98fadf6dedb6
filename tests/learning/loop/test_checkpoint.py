"""Checkpoints: whole or absent, safe to load, and only for the options that wrote them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.learning.loop.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    same_recipe,
    save_checkpoint,
)


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(1))]


def test_random_state_survives_the_file(tmp_path: Path) -> None:
    draws()
    save_checkpoint(tmp_path / "c.pt", {"random": random_state()})
    first = draws()
    assert draws() != first
    restore_random_state(load_checkpoint(tmp_path / "c.pt")["random"])
    assert draws() == first


def test_a_writer_that_dies_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "c.pt", {"step": 1})

    def die(state: Any, file: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", die)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path / "c.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


class Trap:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


def test_code_in_a_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"step": Trap()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.pt")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("change", "allowed"), [("max_epochs", True), ("num_workers", True), ("learning_rate", False)])
def test_only_the_length_of_a_run_may_change(change: str, allowed: bool) -> None:
    options = {"max_epochs": 3, "num_workers": 0, "learning_rate": 0.1}
    if allowed:
        same_recipe(options, options | {change: 9})
        return
    with pytest.raises(ValueError, match=r"learning_rate 0\.1 -> 9"):
        same_recipe(options, options | {change: 9})
