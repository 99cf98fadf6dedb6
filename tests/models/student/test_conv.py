"""The convolutional student: its sizes, its strides, and what an export may fold."""

import pytest
import torch
from torch import nn

from lib.models.student.conv import BatchUnit, SeparableBlock, build_conv


def network(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_conv(spatial_dims=2, in_channels=2, out_channels=3, **options).eval()


def test_a_separable_block_is_its_input_until_the_branch_learned() -> None:
    block = SeparableBlock(2, 4, 5).eval()
    nn.init.zeros_(block.norm.weight)
    x = torch.randn(1, 4, 6, 7)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("dims", [2, 3])
def test_a_units_normalisation_folds_into_its_convolution(dims: int) -> None:
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
def test_stride_follows_the_channels(channels: tuple[int, ...], stride: int) -> None:
    net = network(channels=channels, depths=[1] * (len(channels) - 1))
    assert net.stride == stride and net(torch.rand(1, 2, 33, 47)).shape == (1, 3, 33, 47)


def test_the_background_can_be_shifted_in_one_number() -> None:
    """What a calibration adds to the classifier's bias is added to every voxel's logit."""
    net, x = network(), torch.rand(1, 2, 40, 40)
    before = net(x)
    with torch.no_grad():
        net.classifier.bias[0] += 0.5
    assert torch.allclose(net(x) - before, torch.tensor([0.5, 0, 0]).view(1, 3, 1, 1), atol=1e-5)


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="4 entries"):
        network(depths=(1, 1))
