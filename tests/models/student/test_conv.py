"""Blocks, stride and foldable normalisation of the convolutional student."""

import pytest
import torch
from torch import nn

from lib.models.student.conv import BatchUnit, SeparableBlock, build_conv


def network(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_conv(spatial_dims=2, in_channels=2, out_channels=3, **options).eval()


def test_a_separable_block_without_its_branch_is_relu() -> None:
    block = SeparableBlock(2, 4, 5).eval()
    nn.init.zeros_(block.norm.weight)
    x = torch.randn(1, 4, 6, 7)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("dims", [2, 3])
def test_normalisation_can_be_folded_into_the_convolution(dims: int) -> None:
    torch.manual_seed(0)
    unit = BatchUnit(dims, 3, 4, stride=2)
    x = torch.randn(2, 3, *[8] * dims)
    unit(x)
    unit.eval()
    scale = unit[1].weight / (unit[1].running_var + unit[1].eps).sqrt()
    shape = (-1, *[1] * dims)
    folded = unit[0](x) * scale.view(shape) + (unit[1].bias - unit[1].running_mean * scale).view(shape)
    assert torch.allclose(unit(x), folded.relu(), atol=1e-5)


@pytest.mark.parametrize(("channels", "stride"), [((8, 16), 4), ((8, 8, 16, 16, 24), 32)])
def test_the_stride_depends_on_the_number_of_stages(channels: tuple[int, ...], stride: int) -> None:
    net = network(channels=channels, depths=[1] * (len(channels) - 1))
    assert net.stride == stride and net(torch.rand(1, 2, 33, 47)).shape == (1, 3, 33, 47)


def test_one_bias_shifts_the_logits_of_the_background() -> None:
    """A value that calibration adds to the bias of the classifier is added to the logit of every voxel."""
    net, x = network(), torch.rand(1, 2, 40, 40)
    before = net(x)
    with torch.no_grad():
        net.classifier.bias[0] += 0.5
    assert torch.allclose(net(x) - before, torch.tensor([0.5, 0, 0]).view(1, 3, 1, 1), atol=1e-5)


def test_lists_of_different_lengths_raise() -> None:
    with pytest.raises(ValueError, match="4 entries"):
        network(depths=(1, 1))
