"""Networks from MONAI with this project's interface: DynUNet, SegResNet with and without deep logits, SwinUNETR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import DynUNet, SegResNet, SegResNetDS, SwinUNETR
from monai.networks.nets.swin_unetr import WindowAttention
from torch import nn

from lib.models.blocks.padding import crop, crop_outputs, pad_to_multiple

DYNUNET_HEADS = 3
SEGRESNET_HEADS = 3
SWIN_HALVINGS = 5


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
        _check_dims(spatial_dims)
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
        x = self.input_block(pad_to_multiple(x, self.stride, at_least=2))
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


class Padded(nn.Module):
    """A network of MONAI for an image of any size.

    Args:
        network: MONAI's network; returns logits, or in training a list of logits at 1, 1/2, ...
        stride: Total stride of the network, in samples.
        at_least: Least number of positions at the coarsest level: two for instance norm.
    """

    def __init__(self, network: nn.Module, stride: int, at_least: int = 1) -> None:
        super().__init__()
        self.network, self.stride, self.at_least = network, stride, at_least

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits ``(B, K, *S)``, or in training a list, finest first, where the network returns one."""
        outputs = self.network(pad_to_multiple(x, self.stride, at_least=self.at_least))
        shape = x.shape[2:]
        return crop_outputs(outputs, shape) if isinstance(outputs, list) else crop(outputs, shape)


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


def segresnet(*, spatial_dims: int, in_channels: int, out_channels: int, init_filters: int = 16, **overrides) -> Padded:
    """Build SegResNet with four levels; `overrides` are arguments of MONAI's class."""
    network = SegResNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        init_filters=init_filters,
        **overrides,
    )
    return Padded(network, stride=2 ** len(network.up_layers))


def segresnet_ds(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> Padded:
    """Build SegResNet with four levels and deep logits at 1, 1/2 and 1/4; `overrides` are arguments of MONAI's class.

    It has instance norm, because the batches of volumes are too small for the class's default, batch norm.
    """
    _check_dims(spatial_dims)
    options: dict[str, Any] = {"init_filters": 16, "norm": "instance", "dsdepth": SEGRESNET_HEADS} | overrides
    network = SegResNetDS(spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)
    return Padded(network, stride=network.shape_factor()[0], at_least=2)


def swinunetr(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> Padded:
    """Build SwinUNETR with 24 channels; `overrides` are arguments of MONAI's class."""
    _check_dims(spatial_dims)
    options: dict[str, Any] = {"feature_size": 24, "downsample": "mergingv2"} | overrides
    network = SwinUNETR(in_channels, out_channels, spatial_dims=spatial_dims, **options)
    for module in network.modules():
        if isinstance(module, WindowAttention):
            # A bias per position multiplies no features; MONAI's class has no such attribute.
            module.no_weight_decay = ("relative_position_bias_table",)  # pyright: ignore[reportArgumentType]
    return Padded(network, stride=network.patch_size**SWIN_HALVINGS, at_least=2)


def _check_dims(spatial_dims: int) -> None:
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
