"""A training step is timed; one that does not fit into memory counts as infinitely long."""

import pytest
import torch

from lib.planning import speed
from lib.planning.speed import step_timer


def test_a_larger_patch_takes_longer() -> None:
    measure = step_timer(3)
    small, large = (measure("segresnet", [side] * 3, 1, 1) for side in (16, 48))
    assert 0 < small < large


def test_a_step_without_memory_is_infinitely_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> torch.nn.Module:
        network = torch.nn.Conv2d(1, 2, 1)
        network.forward = lambda image: (_ for _ in ()).throw(RuntimeError("not enough memory: you tried"))  # type: ignore[assignment]
        return network

    monkeypatch.setitem(speed.BUILDERS, "segresnet", fail)
    assert step_timer(2)("segresnet", [8, 8], 1, 1) == float("inf")
