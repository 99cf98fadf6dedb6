"""The channels-last layout changes no value, and filters keep it when a state dict is loaded."""

import pytest
import torch
from torch import nn

from lib.models.blocks.layout import channels_last, convert_to_channels_last


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 6, 7), (2, 3, 4, 5, 6)])
def test_values_are_unchanged_and_channels_are_innermost(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    converted = channels_last(x)
    assert torch.equal(converted, x) and converted.stride(1) == 1
    assert converted.movedim(1, -1).is_contiguous()


@pytest.mark.parametrize("dims", [2, 3])
def test_filters_are_channels_last_and_stay_so_after_loading(dims: int) -> None:
    conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(4, 6, 3, padding=1)
    x = torch.randn(1, 4, *[5] * dims)
    before, state = conv(x), {name: value.clone() for name, value in conv.state_dict().items()}
    network = convert_to_channels_last(nn.Sequential(conv))
    network.load_state_dict({f"0.{name}": value for name, value in state.items()})
    assert conv.weight.stride(1) == 1
    torch.testing.assert_close(network(x), before)
