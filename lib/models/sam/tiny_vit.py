"""TinyViT, the small image encoder of LiteMedSAM: a stage of convolutions, then stages of attention in windows.

Batch normalisation is folded into the convolutions when weights are loaded (`lib.models.sam.foundation`). The encoder
is frozen except for its adapters, so its statistics do not change. Every part accepts images of any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks.conv import Pointwise2d
from lib.models.sam.package import modeling

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (0, 4, 5, 10), (0, 7, 14, 7)
STRIDES = (2, 2, 1)
"""Strides from each stage to the next: LiteMedSAM maps images of 256 x 256 samples to embeddings of 64 x 64."""
STRIDE = 4


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that is applied to every channel separately."""
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)


class InvertedBottleneck(nn.Module):
    """Residual block: more channels, a depthwise convolution, fewer channels; ``(B, C, H, W)`` to ``(B, C, H, W)``."""

    def __init__(self, channels: int, expand: int = 4) -> None:
        super().__init__()
        self.conv1 = Pointwise2d(channels, channels * expand, 1)
        self.conv2 = depthwise(channels * expand)
        self.conv3 = Pointwise2d(channels * expand, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, H, W)``."""
        y = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(y))


class Merge(nn.Module):
    """Transition between stages: changes the number of channels, and halves the resolution if the stride is 2."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Pointwise2d(channels, out_channels, 1)
        self.conv2 = depthwise(out_channels, stride)
        self.conv3 = Pointwise2d(out_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(B, C_out, H / stride, W / stride)``."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention among the positions of a window, with a learned bias for every distance.

    Args:
        channels: Channels of the input.
        heads: Number of attention heads.
        window: Side of the window, in positions.
    """

    no_weight_decay = ("attention_biases",)

    distance: torch.Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        grid = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        positions = torch.stack(grid, -1).view(-1, 2)
        offsets = (positions[:, None] - positions).abs()
        self.register_buffer("distance", offsets[..., 0] * window + offsets[..., 1], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the result of attention, ``(B, H, W, C)``; windows at the border are padded with zeros."""
        (_, height, width, _), side = x.shape, self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        batch, rows, columns, channels = x.shape
        x = x.view(batch, rows // side, side, columns // side, side, channels).transpose(2, 3)
        tokens = self.norm(x.reshape(-1, side * side, channels))
        # The weights hold query, key and value of a head side by side.
        q, k, v = self.qkv(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.attention_biases[None, :, self.distance])
        y = self.proj(mixed.transpose(1, 2).flatten(2))
        y = y.view(batch, rows // side, columns // side, side, side, channels).transpose(2, 3)
        return y.reshape(batch, rows, columns, channels)[:, :height, :width]


class FeedForward(nn.Module):
    """Layer normalisation and a perceptron of two layers, applied to every position separately."""

    def __init__(self, channels: int, expand: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels * expand)
        self.fc2 = nn.Linear(channels * expand, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(*, C)``."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class AttentionBlock(nn.Module):
    """Attention in windows, a depthwise convolution across window borders, and a feed-forward part."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(channels, heads, window)
        self.local_conv = depthwise(channels)
        self.mlp = FeedForward(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, H, W)``."""
        x = x.permute(0, 2, 3, 1)
        x = self.local_conv((x + self.attn(x)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """The blocks of one scale, and the transition to the next scale."""

    def __init__(self, index: int) -> None:
        super().__init__()
        width, heads, window = WIDTHS[index], HEADS[index], WINDOWS[index]
        blocks = [
            AttentionBlock(width, heads, window) if window else InvertedBottleneck(width) for _ in range(DEPTHS[index])
        ]
        self.blocks = nn.Sequential(*blocks)
        last = index == len(WIDTHS) - 1
        self.downsample = nn.Identity() if last else Merge(width, WIDTHS[index + 1], STRIDES[index])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input of the next stage, ``(B, C_out, H / stride, W / stride)``."""
        return self.downsample(self.blocks(x))


class TinyViT(nn.Module):
    """Image encoder whose embeddings have a quarter of the image's resolution.

    Args:
        embed_dim: Channels of the embedding.
    Source:
        Wu et al. 2022, TinyViT, arXiv:2207.10666, with the strides and the first layer of LiteMedSAM.
    """

    def __init__(self, embed_dim: int = 256) -> None:
        super().__init__()
        half, layer_norm = WIDTHS[0] // 2, modeling().common.LayerNorm2d
        self.patch_embed = nn.Sequential(Pointwise2d(3, half, 1), nn.GELU(), Pointwise2d(half, WIDTHS[0], 1))
        self.layers = nn.Sequential(*(Stage(index) for index in range(len(WIDTHS))))
        self.neck = nn.Sequential(
            Pointwise2d(WIDTHS[-1], embed_dim, 1, bias=False),
            layer_norm(embed_dim),
            nn.Conv2d(embed_dim, embed_dim, 3, padding=1, bias=False),
            layer_norm(embed_dim),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the embedding ``(B, C, H / 4, W / 4)`` of ``images (B, 3, H, W)`` in [0, 1]."""
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        return self.neck(self.layers(x))
