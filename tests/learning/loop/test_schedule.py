"""The learning rate schedule, and the parameters with weight decay."""

import pytest
import torch
from torch import nn

from lib.learning.loop.schedule import build_optimizer, rate_factor


@pytest.mark.parametrize(
    ("schedule", "done", "factor"),
    [
        ("poly", 0, 1),
        ("poly", 0.5, 0.5**0.9),
        ("poly", 1, 0),
        ("poly", 1.5, 0),
        ("cosine", 0, 1),
        ("cosine", 0.5, 0.5),
        ("cosine", 1, 0),
        ("constant", 0.9, 1),
    ],
)
def test_decay_of_the_learning_rate(schedule: str, done: float, factor: float) -> None:
    assert rate_factor(schedule, done, step=1000, warmup_steps=10) == pytest.approx(factor, abs=1e-12)


def test_warm_up_is_linear() -> None:
    factors = [rate_factor("constant", 0, step=step, warmup_steps=3) for step in range(5)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_only_matrices_have_weight_decay() -> None:
    matrix, norm, state = nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 4)
    network = nn.Sequential(matrix, norm, state)
    setattr(state.weight, "_no_weight_decay", True)  # noqa: B010 - the attribute has no declared type
    matrix.bias.requires_grad_(False)
    optimizer = build_optimizer(network, learning_rate=0.1, weight_decay=0.5)
    decayed, exempt = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0]
    assert decayed == {id(matrix.weight)}
    assert exempt == {id(p) for p in [norm.weight, norm.bias, state.weight, state.bias]}


def test_a_network_without_biases_has_one_parameter_group() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2, bias=False), learning_rate=0.1, weight_decay=0.5)
    assert len(optimizer.param_groups) == 1 and isinstance(optimizer, torch.optim.AdamW)
