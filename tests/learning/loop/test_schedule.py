"""The learning rate schedule, and the parameters with weight decay."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from lib.learning.loop.schedule import build_optimizer, decayed_parameters, rate_factor
from lib.models import BUILDERS, RESTORERS
from lib.models.blocks.ss2d import SelectiveScanBlock
from lib.models.topowmamba.wmb import Scale
from tests.learning.loop.decay_table import networks, table


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


class Factors(nn.Linear):
    """A module whose matrix holds factors and not a map of features."""

    no_weight_decay = ("weight",)


def test_only_matrices_have_weight_decay() -> None:
    matrix, norm, state = nn.Linear(2, 3), nn.LayerNorm(3), Factors(3, 4)
    network = nn.Sequential(matrix, norm, state)
    matrix.bias.requires_grad_(False)
    optimizer = build_optimizer(network, learning_rate=0.1, weight_decay=0.5)
    decayed, exempt = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0]
    assert decayed == {id(matrix.weight)}
    assert exempt == {id(p) for p in [norm.weight, norm.bias, state.weight, state.bias]}


def test_a_copy_of_a_network_has_the_same_exemptions() -> None:
    network = nn.Sequential(nn.Linear(2, 3), Factors(3, 4))
    assert list(decayed_parameters(copy.deepcopy(network))) == list(decayed_parameters(network)) == ["0.weight"]


@pytest.mark.parametrize("name", [*BUILDERS, *RESTORERS])
def test_only_maps_of_features_have_weight_decay_in_every_network(name: str) -> None:
    """State spaces (`A_logs`, `Ds`, step sizes), scales, norms and biases keep their values."""
    network = networks()[name]
    decayed = decayed_parameters(network)
    state_space = {"A_logs", "Ds", "dt_projs_bias", "beta", "gamma", "bias"}
    for module_path, module in network.named_modules():
        for parameter in dict(module.named_parameters(recurse=False)):
            kept = parameter in state_space or isinstance(module, Scale) or "Norm" in type(module).__name__
            assert not kept or f"{module_path}.{parameter}" not in decayed
    assert any(path.endswith("weight") for path in decayed)


def test_the_page_lists_the_parameters_with_weight_decay() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "weight_decay.md").read_text()
    assert page == table(), "run python -m tests.learning.loop.decay_table > docs/weight_decay.md and read the change"


def test_shrinking_leaves_a_state_space_as_it_is() -> None:
    """Without a gradient, a step of AdamW is weight decay only."""
    block = SelectiveScanBlock(2, 8, d_state=2)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    optimizer = build_optimizer(block, learning_rate=0.1, weight_decay=0.5)
    for parameter in block.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {name for name, value in block.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"in_proj.weight", "conv.weight", "x_proj_weight", "dt_projs_weight", "out_proj.weight"}


def test_a_network_without_biases_has_one_parameter_group() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2, bias=False), learning_rate=0.1, weight_decay=0.5)
    assert len(optimizer.param_groups) == 1 and isinstance(optimizer, torch.optim.AdamW)
