"""NAFNet: an encoder and a decoder of blocks that use product gates instead of activation functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.blocks.conv import ChannelNorm, Pointwise2d
from lib.models.blocks.padding import crop, pad_to_multiple
from lib.models.restoration.spi import SemanticModulation

EPS = 1e-6
WINDOW = 64
"""Side of the window of channel attention, in pixels: the side of the training crops of the starter weights."""


class Gate(nn.Module):
    """Multiply one half of the channels by the other half."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C / 2, H, W)``."""
        left, right = x.chunk(2, dim=1)
        return left * right


class ChannelAttention(nn.Module):
    """Weight the channels at every position by a linear map of their means in a window around the position.

    Args:
        channels: Channels of the input and the output.
        window: Side of the window, in samples; an image that is not larger has a single mean.
    Source:
        Chen et al. 2022 use the mean of the whole image. Chu et al. 2022, arXiv:2112.04491, use a window in trained
        networks.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.weigh, self.window = Pointwise2d(channels, channels, 1), window

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        return x * self.weigh(local_mean(x, self.window))


def local_mean(x: Tensor, window: int) -> Tensor:
    """Return means over a window around every position; a window that would leave the image is moved to its edge.

    Args:
        x: ``(B, C, H, W)``.
        window: Side, in samples.
    Returns:
        ``(B, C, H, W)``, or ``(B, C, 1, 1)`` if one window covers the image.
    """
    height, width = x.shape[2:]
    tall, wide = min(window, height), min(window, width)
    if (tall, wide) == (height, width):
        return x.mean((2, 3), keepdim=True)
    means = _running_mean(_running_mean(x, 2, tall), 3, wide)
    return F.pad(means, ((wide - 1) // 2, wide // 2, (tall - 1) // 2, tall // 2), mode="replicate")


def _running_mean(x: Tensor, axis: int, count: int) -> Tensor:
    """Return means over `count` neighbours along an axis by cumulative sums, five times as fast as pooling."""
    sums = x.float().cumsum(axis)
    first, rest = sums.narrow(axis, count - 1, 1), sums.narrow(axis, count, x.shape[axis] - count)
    return (torch.cat((first, rest - sums.narrow(axis, 0, rest.shape[axis])), axis) / count).to(x.dtype)


class NAFBlock(nn.Module):
    """Two residual parts: the first mixes positions, the second only channels. A new block is the identity.

    Args:
        channels: Channels of the input and the output.
        window: Side of the window of channel attention, in samples.
    Source:
        Chen et al. 2022, arXiv:2204.04676, figure 3.
    """

    no_weight_decay = ("beta", "gamma")

    def __init__(self, channels: int, window: int = WINDOW) -> None:
        super().__init__()
        wide = 2 * channels
        self.spatial = nn.Sequential(
            ChannelNorm(channels, eps=EPS),
            Pointwise2d(channels, wide, 1),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            Gate(),
            ChannelAttention(channels, window),
            Pointwise2d(channels, channels, 1),
        )
        self.pointwise = nn.Sequential(
            ChannelNorm(channels, eps=EPS), Pointwise2d(channels, wide, 1), Gate(), Pointwise2d(channels, channels, 1)
        )
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``."""
        x = x + self.beta * self.spatial(x)
        return x + self.gamma * self.pointwise(x)


class NAFNet(nn.Module):
    """Restore an image: the output is the input plus a change, which is zero in a new network.

    Channel attention uses means over a window around every position, so it sees the same context in a whole image as in
    a training crop. The published network uses means over the whole image, most of which is air in a bone scan.

    Args:
        in_channels: Channels of the input; the first `out_channels` of them are restored.
        out_channels: Channels of the output.
        width: Channels at full resolution; every coarser scale has twice as many.
        encoder: Number of blocks per scale of the encoder, finest first.
        middle: Number of blocks at the coarsest scale.
        decoder: Number of blocks per scale of the decoder, coarsest first.
        guide_channels: Channels of a guide that modulates every scale of the decoder; 0 for no guide.
        window: Side of the window of channel attention, in pixels of the image.
    Raises:
        ValueError: If encoder and decoder differ in their number of scales, or `out_channels` is out of range.
    Source:
        Chen et al. 2022, arXiv:2204.04676; the guide and the initialisation of the last layer with zeros are this
        project's.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int,
        encoder: Sequence[int],
        middle: int,
        decoder: Sequence[int],
        guide_channels: int = 0,
        window: int = WINDOW,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(f"encoder and decoder must have as many scales, got {len(encoder)} and {len(decoder)}")
        if not 1 <= out_channels <= in_channels:
            raise ValueError(f"out_channels must be from 1 to in_channels ({in_channels}), got {out_channels}")
        widths = [width * 2**scale for scale in range(len(encoder) + 1)]
        self.out_channels, self.stride = out_channels, 2 ** len(encoder)
        windows = [max(window >> scale, 1) for scale in range(len(widths))]
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(*sizes) for sizes in zip(widths, windows, encoder, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, 2) for c in widths[:-1])
        self.middle = _blocks(widths[-1], windows[-1], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(Pointwise2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)) for c in widths[:0:-1]
        )
        self.decoders = nn.ModuleList(
            _blocks(*sizes) for sizes in zip(widths[-2::-1], windows[-2::-1], decoder, strict=True)
        )
        self.guides = nn.ModuleList(SemanticModulation(c, guide_channels) for c in widths[-2::-1] if guide_channels)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type] - it has one

    def forward(self, image: Tensor, guide: Tensor | None = None) -> Tensor:
        """Return the restored image, ``(B, out_channels, H, W)``.

        Args:
            image: ``(B, in_channels, H, W)``, of any size.
            guide: ``(B, guide_channels, H, W)``; None for a network without guide channels.
        Raises:
            ValueError: If the guide is missing, or the network has no guide channels.
        """
        if (guide is None) == bool(len(self.guides)):
            raise ValueError("pass a guide if and only if the network has guide_channels")
        padded = pad_to_multiple(image, self.stride)
        guide = None if guide is None else pad_to_multiple(guide, self.stride)
        return crop(padded[:, : self.out_channels] + self._change(padded, guide), image.shape[2:])

    def _change(self, x: Tensor, guide: Tensor | None) -> Tensor:
        x, skips = self.first(x), []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encode(x))
            x = down(skips[-1])
        x = self.middle(x)
        for scale, (up, decode) in enumerate(zip(self.ups, self.decoders, strict=True)):
            x = up(x) + skips.pop()
            if guide is not None:
                x = self.guides[scale](x, guide)
            x = decode(x)
        return self.last(x)


def _blocks(channels: int, window: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels, window) for _ in range(count)))
