"""Shape, formula and initialisation of the snake-convolution block."""

import pytest
import torch
from torch import nn

from lib.models.topowmamba.scvss import SCVSSBlock


@pytest.mark.parametrize("shape", [(6, 9), (4, 5, 6)])
@pytest.mark.parametrize("snake_ratio", [1, 2])
def test_the_block_keeps_the_shape_and_has_one_snake_per_axis(shape: tuple[int, ...], snake_ratio: int) -> None:
    block = SCVSSBlock(len(shape), 8, nn.Identity(), snake_ratio=snake_ratio)
    assert block(torch.rand(2, 8, *shape)).shape == (2, 8, *shape)
    assert len(block.snakes) == len(shape)


def test_the_last_convolution_is_initialised_near_the_identity() -> None:
    torch.manual_seed(0)
    block = SCVSSBlock(2, 16, nn.Identity())
    x = torch.randn(1, 16, 12, 12)
    assert (block.out(x) - x).std() < 0.2 * x.std()


def test_the_block_equals_its_formula() -> None:
    torch.manual_seed(0)
    block = SCVSSBlock(2, 8, nn.Identity()).eval()
    x = torch.rand(1, 8, 7, 7)
    fused = block.fuse(torch.cat([block.square(x), block.snakes[0](x), block.snakes[1](x)], dim=1))
    torch.testing.assert_close(block(x), block.out(x + block.norm(x) + fused))


def test_a_branch_with_too_few_channels_raises() -> None:
    with pytest.raises(ValueError, match="snake_ratio"):
        SCVSSBlock(2, 8, nn.Identity(), snake_ratio=8)
