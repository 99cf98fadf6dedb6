"""Multi-scale decoder: transposed convolutions, residual blocks, and heads at the fine scales."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from lib.models.blocks.conv import ResidualBlock, convolution


class UpBlock(nn.Module):
    """Double the resolution, combine with the features of the encoder, and apply a residual block.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the coarse features.
        skip_channels: Channels of the features of the encoder, and of the output.
        add_skips: Whether to add the features of the encoder instead of concatenating them, which halves the time of
            the block at full resolution.
    """

    def __init__(self, spatial_dims: int, in_channels: int, skip_channels: int, *, add_skips: bool = False) -> None:
        super().__init__()
        self.add_skips = add_skips
        self.up = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims](in_channels, skip_channels, 2, stride=2)
        self.mix = ResidualBlock(spatial_dims, skip_channels * (1 if add_skips else 2), skip_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_skip, *S)`` of ``x (B, C, *S / 2)`` and ``skip (B, C_skip, *S)``."""
        x = self.up(x)
        return self.mix(x.add_(skip) if self.add_skips else torch.cat([x, skip], dim=1))


class Decoder(nn.Module):
    """Upsample from the coarsest features to the resolution of the image.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the features of the encoder, finest first.
        out_channels: Classes.
        heads: Number of scales with a head, finest first: 1 without deep supervision, 4 for 1, 1/2, 1/4 and 1/8.
        add_skips: Whether to add the features of the encoder instead of concatenating them.
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
            features: Features of the encoder, finest first.
            scales: Number of scales with logits; inference needs one.
        """
        x, decoded = features[-1], []
        for up, skip in zip(self.ups, reversed(features[:-1]), strict=True):
            x = up(x, skip)
            decoded.append(x)
        return [head(y) for head, y in zip(self.heads[:scales], reversed(decoded), strict=False)]
