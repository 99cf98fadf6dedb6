"""Changes of resolution in a state-space network: patch embedding, patch merging and patch expansion."""

from __future__ import annotations

import torch
from torch import nn

from lib.models.blocks.conv import ChannelNorm, convolution


class PatchEmbed(nn.Sequential):
    """Divide an image into patches, embed every patch and normalise the result.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of an embedded patch.
        patch_size: Side of a patch and stride between patches, in samples.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, patch_size: int) -> None:
        conv = convolution(spatial_dims, in_channels, out_channels, patch_size, stride=patch_size, padding=0)
        super().__init__(conv, ChannelNorm(out_channels))


class PatchMerge(nn.Module):
    """Halve every axis: concatenate ``2**d`` neighbours, normalise them and project them.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    Source:
        Liu et al. 2021, Swin Transformer, arXiv:2103.14030.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        merged = 2**spatial_dims * in_channels
        self.norm = nn.LayerNorm(merged)
        self.reduction = nn.Linear(merged, out_channels, bias=False)
        nn.init.trunc_normal_(self.reduction.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_out, *S / 2)`` of ``x (B, C, *S)`` with even ``S``."""
        batch, channels, *shape = x.shape
        dims = len(shape)
        split = x.reshape(batch, channels, *(part for size in shape for part in (size // 2, 2)))
        coarse, fine = [2 + 2 * axis for axis in range(dims)], [3 + 2 * axis for axis in range(dims)]
        merged = split.permute(0, *coarse, *reversed(fine), 1).flatten(1 + dims)
        return self.reduction(self.norm(merged)).movedim(-1, 1)


class PatchExpand(nn.Module):
    """Enlarge every axis by `scale`: project every position to ``scale**d`` neighbours and normalise them.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        scale: Factor per axis.
    Source:
        Cao et al. 2021, Swin-Unet, arXiv:2105.05537.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(in_channels, scale**spatial_dims * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)
        nn.init.trunc_normal_(self.expand.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_out, *S * scale)`` of ``x (B, C, *S)``."""
        batch, _, *shape = x.shape
        dims = len(shape)
        grown = self.expand(x.movedim(1, -1)).reshape(batch, *shape, *[self.scale] * dims, -1)
        order = [axis for i in range(dims) for axis in (1 + i, 1 + dims + i)]
        grown = grown.permute(0, *order, 1 + 2 * dims).reshape(batch, *(size * self.scale for size in shape), -1)
        return self.norm(grown).movedim(-1, 1)
