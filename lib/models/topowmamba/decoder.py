"""The multi-scale decoder: transposed convolutions, residual blocks, and a head at every fine scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from lib.models.conv import ResidualBlock, convolution


class UpBlock(nn.Module):
    """Double the resolution, put the encoder's features beside, and mix them in a residual block.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the coarse features.
        skip_channels: Channels of the encoder's features and of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.up = Conv[Conv.CONVTRANS, spatial_dims](in_channels, skip_channels, 2, stride=2)
        self.mix = ResidualBlock(spatial_dims, 2 * skip_channels, skip_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_skip, *S)`` of ``x (B, C, *S / 2)`` and ``skip (B, C_skip, *S)``."""
        return self.mix(torch.cat([self.up(x), skip], dim=1))


class Decoder(nn.Module):
    """Climb from the coarsest features to the image's resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the encoder's features, finest first.
        out_channels: Classes.
        heads: How many scales carry a head, from 1 on: 1 without deep supervision, 4 for 1, 1/2, 1/4, 1/8.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], out_channels: int, *, heads: int = 4) -> None:
        super().__init__()
        pairs = zip(channels, channels[1:], strict=False)
        self.ups = nn.ModuleList([UpBlock(spatial_dims, coarse, fine) for fine, coarse in pairs][::-1])
        self.heads = nn.ModuleList(convolution(spatial_dims, width, out_channels, 1) for width in channels[:heads])

    def forward(self, features: Sequence[torch.Tensor], scales: int) -> list[torch.Tensor]:
        """Return logits at the `scales` finest scales, finest first.

        Args:
            features: The encoder's features, finest first.
            scales: How many logits to compute; a served network needs one.
        """
        x, climbed = features[-1], []
        for up, skip in zip(self.ups, reversed(features[:-1]), strict=True):
            x = up(x, skip)
            climbed.append(x)
        return [head(y) for head, y in zip(self.heads[:scales], reversed(climbed), strict=False)]
