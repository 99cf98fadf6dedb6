"""The networks equal those of nnU-Net's own library, and their weights have the same names."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from lib.models.nnunet import nnunet_plain, nnunet_plain_small, nnunet_resenc

CHANNELS = [4, 8, 16, 32, 64, 128]
OPTIONS = {
    "conv_bias": True,
    "norm_op": nn.InstanceNorm2d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}


def plain() -> nn.Module:
    return PlainConvUNet(1, 6, CHANNELS, nn.Conv2d, 3, [1, 2, 2, 2, 2, 2], 2, 3, 2, deep_supervision=True, **OPTIONS)


def residual() -> nn.Module:
    blocks = [1, 3, 4, 6, 6, 6]
    strides = [1, 2, 2, 2, 2, 2]
    return ResidualEncoderUNet(1, 6, CHANNELS, nn.Conv2d, 3, strides, blocks, 3, 1, deep_supervision=True, **OPTIONS)


@pytest.mark.parametrize(("build", "reference"), [(nnunet_plain, plain), (nnunet_resenc, residual)])
def test_a_network_equals_that_of_nnunet(build, reference) -> None:
    network, original = build(spatial_dims=2, in_channels=1, out_channels=3, channels=4), reference()
    state = original.state_dict()
    assert network.state_dict().keys() < state.keys()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    x = torch.rand(2, 1, 64, 96)
    expected = original(x)
    torch.testing.assert_close(network.eval()(x), expected[0])
    torch.testing.assert_close(network.train()(x), expected[:4])


def test_the_small_size_pads_no_small_volume() -> None:
    network = nnunet_plain_small(spatial_dims=3, in_channels=1, out_channels=2)
    assert all(side % network.stride == 0 for side in (40, 56, 40))


def test_the_coarse_heads_without_a_loss_have_no_weights() -> None:
    network = nnunet_plain(spatial_dims=2, in_channels=1, out_channels=3, channels=4)
    assert len(network.train()(torch.rand(1, 1, 64, 64))) == 4
    assert not any(name.startswith("decoder.seg_layers.0.") for name in network.state_dict())
