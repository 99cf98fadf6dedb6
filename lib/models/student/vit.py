"""The transformer student: ViT-Tiny/16 and a light mask decoder."""

from __future__ import annotations

import math

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import nn

from lib.models.blocks.conv import ConvUnit, convolution
from lib.models.blocks.padding import crop, pad_to_multiple

PATCH = 16


class StudentViT(nn.Module):
    """Patches of 16 samples, transformer blocks, and a decoder that meets the image again at 1/4.

    Places are sines of the position, so an image may have any size.

    Args:
        embed: Image to patches, ``(B, E, H/16, W/16)``.
        blocks: Of the tokens ``(B, L, E)``.
        norm: Of the last tokens.
        detail: Image to features at 1/4, where a patch is too coarse.
        up: Tokens to features at 1/4.
        mix: Of their sum.
        head: Features at 1/4 to logits at full resolution; its bias has one number per class.
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
        """The layer that makes the logits."""
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, H, W)`` of the image ``x (B, C, H, W)``."""
        return self.answer(x)[0]

    def answer(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and last tokens in one pass."""
        padded = pad_to_multiple(x, PATCH)
        tokens = self.encode(padded)
        return crop(self.head(self.mix(self.up(tokens) + self.detail(padded))), x.shape[2:]), tokens

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last tokens ``(B, E, H/16, W/16)`` of an image ``(B, C, H, W)``."""
        patches = self.embed(pad_to_multiple(x, PATCH))
        height, width = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2) + places(height, width, patches.shape[1]).to(patches)
        return self.norm(self.blocks(tokens)).transpose(1, 2).unflatten(2, (height, width))


def places(height: int, width: int, channels: int) -> torch.Tensor:
    """Return sines and cosines of row and column, ``(H W, E)``, a quarter of the channels each.

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
        depth: Blocks.
        heads: Of the attention.
        detail_channels: Channels of the decoder, at 1/4.
    """
    blocks = [TransformerBlock(embed_dim, 4 * embed_dim, heads, qkv_bias=True) for _ in range(depth)]
    for block in blocks:
        # MONAI's block has it whether or not there is something to attend to.
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
