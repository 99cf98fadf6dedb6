"""The multi-scale decoder: transposed convolutions, residual blocks, and a head at every fine scale."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from lib.models.blocks.conv import ResidualBlock, convolution


class UpBlock(nn.Module):
    """Double the resolution, put the encoder's features beside, and mix them in a residual block.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the coarse features.
        skip_channels: Channels of the encoder's features and of the output.
        add_skips: Add the encoder's features instead of concatenating them; at full resolution that halves the time
            of the block.
    """

    def __init__(self, spatial_dims: int, in_channels: int, skip_channels: int, *, add_skips: bool = False) -> None:
        super().__init__()
        self.add_skips = add_skips
        self.up = Conv[Conv.CONVTRANS, spatial_dims](in_channels, skip_channels, 2, stride=2)
        self.mix = ResidualBlock(spatial_dims, skip_channels * (1 if add_skips else 2), skip_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_skip, *S)`` of ``x (B, C, *S / 2)`` and ``skip (B, C_skip, *S)``."""
        x = self.up(x)
        return self.mix(x.add_(skip) if self.add_skips else torch.cat([x, skip], dim=1))


class Decoder(nn.Module):
    """Climb from the coarsest features to the image's resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the encoder's features, finest first.
        out_channels: Classes.
        heads: How many scales carry a head, from 1 on: 1 without deep supervision, 4 for 1, 1/2, 1/4, 1/8.
        add_skips: Add the encoder's features instead of concatenating them.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: Sequence[int],
        out_channels: int,
        *,
        heads: int = 4,
        add_skips: bool = False,
    ) -> None:
        super().__init__()
        self.ups = nn.ModuleList(
            UpBlock(spatial_dims, coarse, fine, add_skips=add_skips)
            for coarse, fine in itertools.pairwise(reversed(channels))
        )
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
