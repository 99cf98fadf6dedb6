"""The convolutional student: strided down to 1/32, summed on the way up, and logits at full resolution.

Nothing is mixed at full resolution, where most of the time would go, and below it the blocks are depthwise convolutions
and matrix products. Normalisation is by batch: once trained it is a constant, which an export
folds into the convolution before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks.conv import CONVOLUTIONS, convolution
from lib.models.blocks.layout import channels_last, lay_channels_last
from lib.models.blocks.padding import crop, pad_to_multiple

NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
RAISED: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class BatchUnit(nn.Sequential):
    """Convolution, batch normalisation, ReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: In samples, on every axis.
        options: Of the convolution: stride, groups.
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
        kernel_size: Of the depthwise convolution, in samples.
    """

    def __init__(self, spatial_dims: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = BatchUnit(spatial_dims, channels, channels, kernel_size, groups=channels)
        # A plain convolution, not `convolution`'s matrix product: runtimes fold the normalisation into it.
        self.pointwise = CONVOLUTIONS[spatial_dims](channels, channels, 1, bias=False)
        self.norm = NORMS[spatial_dims](channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, *S)``."""
        return F.relu(x + self.norm(self.pointwise(self.depthwise(x))))


class StudentConv(nn.Module):
    """The network as its parts, for an image of any size.

    Args:
        stem: Image to features at 1/2.
        stages: Each halves the resolution of the one before.
        laterals: From a stage's channels to those of the one before, one per stage.
        mixers: Of the sums, one per stage.
        head: Features at 1/2 to logits at full resolution; its bias has one number per class.
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
        self.stages, self.laterals, self.mixers = (nn.ModuleList(each) for each in (stages, laterals, mixers))

    @property
    def classifier(self) -> nn.Module:
        """The layer that makes the logits."""
        return self.head

    @property
    def stride(self) -> int:
        """Samples of the image per position of the coarsest features."""
        return 2 ** (1 + len(self.stages))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)`` of the image ``x (B, C, *S)``."""
        return crop(self.whole(channels_last(pad_to_multiple(x, self.stride))), x.shape[2:])

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of an image whose sides are multiples of the stride: what is exported."""
        return self._decode(self._pyramid(x))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the coarsest features ``(B, E, *S / stride)`` of an image ``(B, C, *S)``."""
        return self._pyramid(channels_last(pad_to_multiple(x, self.stride)))[-1]

    def answer(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and coarsest features in one pass."""
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
        channels: At 1/2 (the stem), 1/4, 1/8, ...
        depths: Separable blocks at 1/4, 1/8, ...
        kernel_size: Of their depthwise convolutions, in samples.
    Raises:
        ValueError: If the lists do not fit each other.
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
        RAISED[spatial_dims](channels[0], out_channels, 2, stride=2),
    )
    return lay_channels_last(network)
