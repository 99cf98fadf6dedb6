"""The networks of nnU-Net v2, built by the library that nnU-Net itself uses, with this project's interface."""

from __future__ import annotations

from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import nn

from lib.models.blocks.padding import crop, crop_outputs, pad_to_multiple

HEADS = 4
"""Largest number of outputs in training: logits at 1, 1/2, 1/4 and 1/8."""
LEVELS_SMALL = 4
"""Levels of the small sizes. nnU-Net halves an axis while at least 4 samples are left; a patch of 40 x 56 x 40
then has 4 levels, and its sides are multiples of the stride 8, so nothing is padded."""
_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_CHANNELS, _MOST_CHANNELS = 32, {2: 512, 3: 320}
_RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6)


class NnUNet(nn.Module):
    """A network of nnU-Net for an image of any size; in training a list of logits at their own resolution.

    nnU-Net's modules list most weights two or three times in the state dict, which safetensors rejects. The names that
    only repeat others are removed, so the state dict is a part of nnU-Net's, under the same names.

    Args:
        network: The network of nnU-Net, initialised. Every level but the first halves the resolution.
    """

    def __init__(self, network: PlainConvUNet | ResidualEncoderUNet) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder
        self.stride = 2 ** (len(self.encoder.strides) - 1)
        del self.decoder.encoder
        self.unused_heads = max(0, len(self.decoder.seg_layers) - HEADS)
        for level in range(self.unused_heads):
            self.decoder.seg_layers[level] = nn.Identity()
        for module in self.modules():
            if isinstance(module, ConvDropoutNormReLU):
                for repeated in {"conv", "dropout", "norm", "nonlin"} & module._modules.keys():
                    delattr(module, repeated)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits ``(B, K, *S)``; in training a list, finest first."""
        skips = self.encoder(pad_to_multiple(x, self.stride, at_least=2))
        features, outputs = skips[-1], []
        levels = zip(self.decoder.transpconvs, self.decoder.stages, self.decoder.seg_layers, strict=True)
        for level, (upsample, blocks, head) in enumerate(levels):
            features = blocks(torch.cat((upsample(features), skips[-(level + 2)]), 1))
            if self.training and level >= self.unused_heads:
                outputs.insert(0, head(features))
        if self.training:
            return crop_outputs(outputs, x.shape[2:])
        return crop(self.decoder.seg_layers[-1](features), x.shape[2:])


def nnunet_plain(*, spatial_dims: int, in_channels: int, out_channels: int, **sizes: Any) -> NnUNet:
    """Build nnU-Net's plain network with six levels, for patches from 128 voxels a side in 3-D, 256 pixels in 2-D."""
    return _build(PlainConvUNet, spatial_dims, in_channels, out_channels, **{"levels": 6} | sizes)


def nnunet_plain_small(*, spatial_dims: int, in_channels: int, out_channels: int, **sizes: Any) -> NnUNet:
    """Build nnU-Net's plain network with four levels, for patches of 32 to 96 samples a side."""
    return _build(PlainConvUNet, spatial_dims, in_channels, out_channels, **{"levels": LEVELS_SMALL} | sizes)


def nnunet_resenc(*, spatial_dims: int, in_channels: int, out_channels: int, **sizes: Any) -> NnUNet:
    """Build nnU-Net's network with a residual encoder (preset M) and six levels, for patches as of `nnunet_plain`."""
    return _build(ResidualEncoderUNet, spatial_dims, in_channels, out_channels, **{"levels": 6} | sizes)


def nnunet_resenc_small(*, spatial_dims: int, in_channels: int, out_channels: int, **sizes: Any) -> NnUNet:
    """Build nnU-Net's network with a residual encoder and four levels, for patches of 32 to 96 samples a side."""
    return _build(ResidualEncoderUNet, spatial_dims, in_channels, out_channels, **{"levels": LEVELS_SMALL} | sizes)


def _build(
    network: type[PlainConvUNet | ResidualEncoderUNet],
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    *,
    levels: int,
    channels: int = _CHANNELS,
) -> NnUNet:
    """Build a network; `channels` are those of the finest level, and they double at every level up to a limit."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
    if not 2 <= levels <= len(_RESIDUAL_BLOCKS):
        raise ValueError(f"levels must lie between 2 and {len(_RESIDUAL_BLOCKS)}, got {levels}")
    residual = network is ResidualEncoderUNet
    options: dict[str, Any] = (
        {"n_blocks_per_stage": _RESIDUAL_BLOCKS[:levels]} if residual else {"n_conv_per_stage": [2] * levels}
    )
    built = network(
        in_channels,
        levels,
        [min(channels * 2**level, _MOST_CHANNELS[spatial_dims]) for level in range(levels)],
        _CONVOLUTIONS[spatial_dims],
        3,
        [1] + [2] * (levels - 1),
        num_classes=out_channels,
        n_conv_per_stage_decoder=[1 if residual else 2] * (levels - 1),
        conv_bias=True,
        norm_op=_NORMS[spatial_dims],
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
        **options,
    )
    built.apply(built.initialize)
    return NnUNet(built)
