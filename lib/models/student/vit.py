"""Transformer student: ViT-Tiny/16 with a small mask decoder."""

from __future__ import annotations

import math

import torch
from torch import nn

from lib.models.blocks.conv import ConvUnit, convolution
from lib.models.blocks.padding import crop, pad_to_multiple

PATCH = 16


class StudentViT(nn.Module):
    """Vision transformer with patches of 16 samples, and a decoder that adds image features at 1/4 of the resolution.

    The position encoding is sinusoidal, so an image can have any size.

    Args:
        embed: Maps an image to patch embeddings, ``(B, E, H/16, W/16)``.
        blocks: Transformer blocks on tokens ``(B, L, E)``.
        norm: Normalisation of the last tokens.
        detail: Maps an image to features at 1/4, for details that are smaller than a patch.
        up: Maps tokens to features at 1/4.
        mix: Module on the sum of both features.
        head: Maps features at 1/4 to logits at full resolution; its bias has one element per class.
    """

    def __init__(
        self,
        *,
        embed: nn.Module,
        blocks: nn.Module,
        norm: nn.Module,
        detail: nn.Module,
        up: nn.Module,
        mix: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.embed, self.blocks, self.norm = embed, blocks, norm
        self.detail, self.up, self.mix, self.head = detail, up, mix, head

    @property
    def classifier(self) -> nn.Module:
        """The layer that computes the logits."""
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, H, W)`` of the image ``x (B, C, H, W)``."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits ``(B, K, H, W)`` and the last tokens ``(B, E, H/16, W/16)`` in one pass."""
        padded = pad_to_multiple(x, PATCH)
        tokens = self.encode(padded)
        return crop(self.head(self.mix(self.up(tokens) + self.detail(padded))), x.shape[2:]), tokens

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last tokens ``(B, E, H/16, W/16)`` of an image ``(B, C, H, W)``."""
        patches = self.embed(pad_to_multiple(x, PATCH))
        height, width = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2) + position_encoding(height, width, patches.shape[1]).to(patches)
        return self.norm(self.blocks(tokens)).transpose(1, 2).unflatten(2, (height, width))


def position_encoding(height: int, width: int, channels: int) -> torch.Tensor:
    """Return the position encoding ``(H W, E)``: sine and cosine of row and column, a quarter of the channels each.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, in two dimensions.
    """
    rates = torch.exp(torch.arange(channels // 4) * (-math.log(10_000.0) / (channels // 4)))
    rows, columns = (torch.arange(size)[:, None] * rates for size in (height, width))
    rows, columns = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], -1).flatten(0, 1)


def build_vit(
    *,
    in_channels: int,
    out_channels: int,
    embed_dim: int = 192,
    depth: int = 12,
    heads: int = 3,
    detail_channels: int = 32,
) -> StudentViT:
    """Build a transformer student of any size.

    Args:
        in_channels: Channels of the image.
        out_channels: Classes.
        embed_dim: Channels of a token, a multiple of 4.
        depth: Number of transformer blocks.
        heads: Number of attention heads.
        detail_channels: Channels of the decoder, at 1/4 of the resolution.
    """
    # MONAI imports all of its modules at once, which no other student needs.
    from monai.networks.blocks.transformerblock import TransformerBlock

    blocks = [TransformerBlock(embed_dim, 4 * embed_dim, heads, qkv_bias=True) for _ in range(depth)]
    for block in blocks:
        # MONAI's block has this layer even without cross-attention; it would be an unused weight.
        del block.norm_cross_attn
    quarter = PATCH // 4
    return StudentViT(
        embed=convolution(2, in_channels, embed_dim, PATCH, stride=PATCH, padding=0),
        blocks=nn.Sequential(*blocks),
        norm=nn.LayerNorm(embed_dim),
        detail=nn.Sequential(
            ConvUnit(2, in_channels, detail_channels, stride=2, normalise=False),
            ConvUnit(2, detail_channels, detail_channels, stride=2),
        ),
        up=nn.ConvTranspose2d(embed_dim, detail_channels, quarter, stride=quarter),
        mix=ConvUnit(2, detail_channels, detail_channels),
        head=nn.ConvTranspose2d(detail_channels, out_channels, 4, stride=4),
    )
