"""The snake-convolution state-space block (SCVSS): a scan beside convolutions that follow a tube."""

from __future__ import annotations

import torch
from torch import nn

from lib.models.blocks.conv import ChannelNorm, ConvUnit, convolution
from lib.models.blocks.ss2d import DropPath
from lib.ops.snake_conv import DynamicSnakeConv


class SCVSSBlock(nn.Module):
    """``Conv3x3(x + DropPath(mixer(LN x)) + Fuse[cat(Conv3x3 x, Snake_axis x for every axis)])``.

    The closing convolution starts near the identity, so that a fresh block passes its input on as a VSSBlock does.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        mixer: The token mixer, ``(B, C, *S) -> (B, C, *S)``.
        snake_ratio: How many times narrower than `channels` the branches are, behind a 1x1 convolution; 1 is the
            lineage, without that convolution, and its seven full convolutions would be most of a small network.
        kernel_size: Samples along a snake.
        drop_path: Probability of dropping the mixer's branch.
    Raises:
        ValueError: If `snake_ratio` leaves a branch fewer than two channels.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        mixer: nn.Module,
        *,
        snake_ratio: int = 1,
        kernel_size: int = 9,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        width = channels // snake_ratio
        if width < 2:
            raise ValueError(f"snake_ratio {snake_ratio} leaves {width} of {channels} channels")
        self.norm = ChannelNorm(channels)
        self.mixer = mixer
        self.drop_path = DropPath(drop_path)
        self.squeeze = nn.Identity() if snake_ratio == 1 else ConvUnit(spatial_dims, channels, width, 1)
        self.square = ConvUnit(spatial_dims, width, width)
        self.snakes = nn.ModuleList(
            DynamicSnakeConv(spatial_dims, width, width, kernel_size=kernel_size, axis=axis)
            for axis in range(spatial_dims)
        )
        self.fuse = ConvUnit(spatial_dims, (1 + spatial_dims) * width, channels)
        self.out = convolution(spatial_dims, channels, channels, 3)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.weight[(slice(None), slice(None), *[1] * spatial_dims)] += torch.eye(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, *S)``."""
        narrow = self.squeeze(x)
        branches = torch.cat([self.square(narrow), *(snake(narrow) for snake in self.snakes)], dim=1)
        mixed = x + self.drop_path(self.mixer(self.norm(x)))
        return self.out(mixed.add_(self.fuse(branches)))
