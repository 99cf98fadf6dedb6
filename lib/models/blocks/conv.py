"""Convolutional parts: normalisation for small batches, a plain convolution unit and a residual block."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


class Pointwise2d(nn.Conv2d):
    """A 1x1 convolution, computed as a matrix product on a channels-last image."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_out, H, W)`` of ``(B, C_in, H, W)``."""
        return _pointwise(input, self.weight, self.bias)


class Pointwise3d(nn.Conv3d):
    """`Pointwise2d` with three spatial axes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_out, D, H, W)`` of ``(B, C_in, D, H, W)``."""
        return _pointwise(input, self.weight, self.bias)


def _pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


POINTWISE: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: Pointwise2d, 3: Pointwise3d}


def convolution(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, **options
) -> nn.Conv2d | nn.Conv3d:
    """Return a convolution whose padding keeps the shape at stride 1 for odd kernels.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size along every axis, in samples.
        options: Further arguments of ``nn.Conv2d``.
    Raises:
        ValueError: If `spatial_dims` is not 2 or 3.
    """
    if spatial_dims not in CONVOLUTIONS:
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
    if kernel_size == 1 and not options.keys() - {"bias"}:
        return POINTWISE[spatial_dims](in_channels, out_channels, 1, **options)
    options.setdefault("padding", (kernel_size - 1) // 2)
    return CONVOLUTIONS[spatial_dims](in_channels, out_channels, kernel_size, **options)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return group normalisation with at most eight groups of at least two channels.

    Batches on a CPU are too small for batch statistics. Two channels per group keep the variance defined at a single
    position, which is the grid of the last stage for a small image, where instance normalisation raises an error.
    """
    return nn.GroupNorm(math.gcd(8, max(channels // 2, 1)), channels)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of ``(B, C, *S)``, separately at every position."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalised input, ``(B, C, *S)``."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class ConvUnit(nn.Sequential):
    """Convolution, group normalisation, leaky ReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size along every axis, in samples.
        normalise: Whether to normalise; without normalisation the convolution has a bias. The first layer on an image
            has no normalisation, because CT values are absolute, and normalising over an image would hide how much of
            it is air.
        stride: Stride of the convolution, in samples.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        normalise: bool = True,
        stride: int = 1,
    ) -> None:
        conv = convolution(spatial_dims, in_channels, out_channels, kernel_size, stride=stride, bias=not normalise)
        norm = [group_norm(out_channels)] if normalise else []
        super().__init__(conv, *norm, nn.LeakyReLU(0.01, inplace=True))
        nn.init.kaiming_normal_(conv.weight, a=0.01)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the number of channels changes.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvUnit(spatial_dims, in_channels, out_channels)
        self.second = convolution(spatial_dims, out_channels, out_channels, 3, bias=False)
        self.norm = group_norm(out_channels)
        self.act = nn.LeakyReLU(0.01, inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = convolution(spatial_dims, in_channels, out_channels, 1)
        nn.init.kaiming_normal_(self.second.weight, a=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C_out, *S)``."""
        # Add in place on a temporary array, because allocating a new one at full resolution costs as much as the sum.
        return self.act(self.norm(self.second(self.first(x))).add_(self.shortcut(x)))
