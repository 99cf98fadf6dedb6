"""Snake-convolution state-space block (SCVSS): a scan in parallel with convolutions that follow a tube."""

from __future__ import annotations

import torch
from torch import nn

from lib.models.blocks.conv import ChannelNorm, ConvUnit, convolution
from lib.models.blocks.ss2d import DropPath
from lib.ops.snake_conv import DynamicSnakeConv


class SCVSSBlock(nn.Module):
    """``Conv3x3(x + DropPath(mixer(LN x)) + Fuse[cat(Conv3x3 x, Snake_axis x for every axis)])``.

    The last convolution is initialised near the identity, so that a new block is close to a VSSBlock.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        mixer: Token mixer, ``(B, C, *S) -> (B, C, *S)``.
        snake_ratio: Ratio of `channels` to the channels of a branch, which a 1x1 convolution reduces. With 1 there is
            no such convolution, as in related networks, but the seven convolutions then dominate a small network.
        kernel_size: Number of samples along a snake convolution.
        drop_path: Probability of dropping the branch of the mixer.
    Raises:
        ValueError: If a branch would have fewer than two channels.
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
            raise ValueError(f"snake_ratio {snake_ratio} leaves {width} of {channels} channels, but 2 are needed")
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
