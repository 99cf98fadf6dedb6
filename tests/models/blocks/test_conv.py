"""Normalisation, convolution unit and residual block."""

import pytest
import torch

from lib.models.blocks.conv import ChannelNorm, ConvUnit, ResidualBlock, group_norm


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (8, 4), (12, 2), (16, 8), (48, 8), (20, 2)])
def test_groups_have_at_least_two_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_group_norm_trains_on_a_single_position() -> None:
    assert group_norm(8).train()(torch.rand(1, 8, 1, 1)).isfinite().all()


def test_channel_norm_normalises_every_position_separately() -> None:
    x = torch.rand(2, 16, 3, 4) * torch.rand(3, 4)
    y = ChannelNorm(16)(x)
    torch.testing.assert_close(y.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[:, :, 1:2, 2:3], ChannelNorm(16)(x[:, :, 1:2, 2:3]))


@pytest.mark.parametrize(("normalise", "same"), [(True, True), (False, False)])
def test_only_a_unit_without_normalisation_depends_on_absolute_values(normalise: bool, same: bool) -> None:
    torch.manual_seed(0)
    unit = ConvUnit(2, 1, 8, normalise=normalise)
    x = torch.rand(1, 1, 16, 16)
    # A change of gain does not change normalised features.
    assert torch.allclose(unit(x), unit(2 * x), atol=1e-3) is same


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_residual_block_changes_channels_and_keeps_the_grid(spatial_dims: int) -> None:
    shape = (5, 6, 7)[:spatial_dims]
    assert ResidualBlock(spatial_dims, 4, 8)(torch.rand(1, 4, *shape)).shape == (1, 8, *shape)
