"""Convolutional student: an encoder down to 1/32, a decoder with added skips, and logits at full resolution.

There are no blocks at full resolution, where they would take most of the time. At the other scales the blocks are
depthwise convolutions and matrix products. Batch normalisation is constant after training, so an export folds it into
the convolution before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks.conv import CONVOLUTIONS, convolution
from lib.models.blocks.layout import channels_last, convert_to_channels_last
from lib.models.blocks.padding import crop, pad_to_multiple

NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
TRANSPOSED_CONVOLUTIONS: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


class BatchUnit(nn.Sequential):
    """Convolution, batch normalisation, ReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size along every axis, in samples.
        options: Further options of the convolution, for example stride and groups.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, **options) -> None:
        conv = convolution(spatial_dims, in_channels, out_channels, kernel_size, bias=False, **options)
        super().__init__(conv, NORMS[spatial_dims](out_channels), nn.ReLU(inplace=True))
        nn.init.kaiming_normal_(conv.weight, mode="fan_out" if conv.groups == 1 else "fan_in")


class SeparableBlock(nn.Module):
    """``ReLU(x + BN(pointwise(depthwise(x))))``.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        kernel_size: Kernel size of the depthwise convolution, in samples.
    """

    def __init__(self, spatial_dims: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = BatchUnit(spatial_dims, channels, channels, kernel_size, groups=channels)
        # Use a plain convolution, not the matrix product of `convolution`, so that runtimes can fold the normalisation.
        self.pointwise = CONVOLUTIONS[spatial_dims](channels, channels, 1, bias=False)
        self.norm = NORMS[spatial_dims](channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, *S)``."""
        return F.relu(x + self.norm(self.pointwise(self.depthwise(x))))


class StudentConv(nn.Module):
    """The network of its parts, for an image of any size.

    Args:
        stem: Maps an image to features at 1/2 of the resolution.
        stages: Modules of the encoder, each of which halves the resolution.
        laterals: One module per stage, which maps the channels of the stage to the channels of the finer stage.
        mixers: One module per stage, which is applied to the sum of upsampled features and skip.
        head: Maps features at 1/2 to logits at full resolution; its bias has one element per class.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        laterals: Sequence[nn.Module],
        mixers: Sequence[nn.Module],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.stem, self.head = stem, head
        self.stages, self.laterals, self.mixers = (nn.ModuleList(parts) for parts in (stages, laterals, mixers))

    @property
    def classifier(self) -> nn.Module:
        """The layer that computes the logits."""
        return self.head

    @property
    def stride(self) -> int:
        """Stride of the coarsest features, in samples of the image."""
        return 2 ** (1 + len(self.stages))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)`` of the image ``x (B, C, *S)``."""
        return crop(self.forward_padded(channels_last(pad_to_multiple(x, self.stride))), x.shape[2:])

    def forward_padded(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)`` of an image whose sides are multiples of the stride; this is exported."""
        return self._decode(self._pyramid(x))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the coarsest features ``(B, E, *S / stride)`` of an image ``(B, C, *S)``."""
        return self._pyramid(channels_last(pad_to_multiple(x, self.stride)))[-1]

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits and the coarsest features ``(B, E, *S / stride)`` in one pass."""
        features = self._pyramid(channels_last(pad_to_multiple(x, self.stride)))
        return crop(self._decode(features), x.shape[2:]), features[-1]

    def _pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = [self.stem(x)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features

    def _decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        *finer, y = features
        for lateral, mixer, skip in zip(reversed(self.laterals), reversed(self.mixers), reversed(finer), strict=True):
            y = mixer(F.interpolate(lateral(y), scale_factor=2.0, mode="nearest") + skip)
        return self.head(y)


def build_conv(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (16, 32, 64, 96, 128),
    depths: Sequence[int] = (1, 1, 2, 2),
    kernel_size: int = 5,
) -> StudentConv:
    """Build a convolutional student of any size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes.
        channels: Channels at 1/2 (the stem), 1/4, 1/8, ...
        depths: Number of separable blocks at 1/4, 1/8, ...
        kernel_size: Kernel size of the depthwise convolutions, in samples.
    Raises:
        ValueError: If the lengths of `channels` and `depths` do not agree.
    """
    if len(depths) != len(channels) - 1:
        raise ValueError(f"depths needs {len(channels) - 1} entries, one less than channels, got {tuple(depths)}")
    pairs = list(itertools.pairwise(channels))
    stages = [
        nn.Sequential(
            BatchUnit(spatial_dims, fine, coarse, stride=2),
            *(SeparableBlock(spatial_dims, coarse, kernel_size) for _ in range(depth)),
        )
        for (fine, coarse), depth in zip(pairs, depths, strict=True)
    ]
    network = StudentConv(
        BatchUnit(spatial_dims, in_channels, channels[0], stride=2),
        stages,
        [CONVOLUTIONS[spatial_dims](coarse, fine, 1) for fine, coarse in pairs],
        [SeparableBlock(spatial_dims, fine, kernel_size) for fine, _ in pairs],
        TRANSPOSED_CONVOLUTIONS[spatial_dims](channels[0], out_channels, 2, stride=2),
    )
    return convert_to_channels_last(network)
