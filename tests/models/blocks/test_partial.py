"""A state dict leaves out the frozen part and nothing else."""

import pytest
import torch
from torch import nn

from lib.models.blocks.partial import PartialState


class Pair(PartialState):
    frozen = "below"

    def __init__(self) -> None:
        super().__init__()
        self.below, self.below_too, self.above = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)


def test_the_frozen_part_is_not_saved_and_may_be_absent() -> None:
    one, other = Pair(), Pair()
    state = one.state_dict()
    assert {name.split(".")[0] for name in state} == {"below_too", "above"}
    before = other.below.weight.clone()
    other.load_state_dict(state)
    assert torch.equal(other.above.weight, one.above.weight) and torch.equal(other.below.weight, before)
    assert not any("0.below." in name for name in nn.Sequential(one).state_dict())


def test_other_missing_or_unknown_names_raise() -> None:
    state = Pair().state_dict()
    for wrong in (
        {**state, "more": torch.zeros(1)},
        {name: value for name, value in state.items() if "above" not in name},
    ):
        with pytest.raises(RuntimeError, match="state dict does not fit this pair"):
            Pair().load_state_dict(wrong)
    Pair().load_state_dict({}, strict=False)
