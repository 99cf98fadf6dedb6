"""Comparison networks from MONAI, DynUNet (the network of nnU-Net) and SegResNet, with this project's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import DynUNet, SegResNet
from torch import nn

from lib.models.blocks.padding import crop, crop_outputs, pad_to_multiple

DYNUNET_HEADS = 3


class PaddedDynUNet(DynUNet):
    """MONAI's DynUNet for an image of any size; deep logits are returned at their own resolution as a list.

    This class runs the levels in a loop and removes MONAI's nested skip layers, because those list every weight twice
    in the state dict, which safetensors rejects.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes.
        filters: Channels per level, finest first; at least five levels. Every level halves the resolution.
        deep_supervision: In training, return logits at 1, 1/2, 1/4 and 1/8.
    Raises:
        ValueError: If `spatial_dims` is not 2 or 3, or there are fewer than five levels.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        filters: Sequence[int] = (32, 64, 128, 256, 512, 512),
        deep_supervision: bool = True,
    ) -> None:
        levels = len(filters)
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
        if levels < DYNUNET_HEADS + 2:
            raise ValueError(f"filters needs at least {DYNUNET_HEADS + 2} levels, got {filters}")
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(filters),
            deep_supervision=deep_supervision,
            deep_supr_num=DYNUNET_HEADS,
        )
        del self.skip_layers
        self.stride = 2 ** (levels - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits ``(B, K, *S)``; in training with deep supervision a list, finest first."""
        shape = x.shape[2:]
        x = self.input_block(pad_to_multiple(x, self.stride))
        skips = [x]
        for downsample in self.downsamples:
            skips.append(downsample(skips[-1]))
        features = [self.bottleneck(skips[-1])]
        for upsample in self.upsamples:
            features.append(upsample(features[-1], skips.pop()))
        logits = self.output_block(features.pop())
        if not (self.training and self.deep_supervision):
            return crop(logits, shape)
        deep = [head(features.pop()) for head in self.deep_supervision_heads]
        return crop_outputs([logits, *deep], shape)


class PaddedSegResNet(nn.Module):
    """MONAI's SegResNet for an image of any size.

    Args:
        network: MONAI's network.
        stride: Total stride of the network, in samples.
    """

    def __init__(self, network: SegResNet, stride: int) -> None:
        super().__init__()
        self.network, self.stride = network, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(B, K, *S)``."""
        return crop(self.network(pad_to_multiple(x, self.stride)), x.shape[2:])


def dynunet(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> PaddedDynUNet:
    """Build DynUNet with six levels, at the size of nnU-Net."""
    options: dict[str, Any] = {
        "filters": (32, 64, 128, 256, 320, 320) if spatial_dims == 3 else (32, 64, 128, 256, 512, 512)
    }
    options |= overrides
    return PaddedDynUNet(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)


def dynunet_small(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> PaddedDynUNet:
    """Build a DynUNet about the size of topowmamba_small."""
    options: dict[str, Any] = {"filters": (16, 32, 64, 128, 192, 192)} | overrides
    return PaddedDynUNet(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)


def segresnet(
    *, spatial_dims: int, in_channels: int, out_channels: int, init_filters: int = 16, **overrides
) -> PaddedSegResNet:
    """Build SegResNet with four levels; `overrides` are arguments of MONAI's class."""
    network = SegResNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        init_filters=init_filters,
        **overrides,
    )
    return PaddedSegResNet(network, stride=2 ** len(network.up_layers))
