"""The transformer student: its places and its size."""

import torch

from lib.models.student.vit import build_vit, places


def test_places_by_hand() -> None:
    """Four channels: sine and cosine of the row, then of the column, at rate 1."""
    row, column = torch.tensor(1.0), torch.tensor(2.0)
    found = places(2, 3, 4)
    assert found.shape == (6, 4)
    assert torch.allclose(found[5], torch.stack([row.sin(), row.cos(), column.sin(), column.cos()]))
    assert torch.allclose(found[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))


def test_it_is_vit_tiny() -> None:
    """Twelve blocks of 192 channels and three heads: 5.34 M, as published, beside a patch embedding for one channel."""
    net = build_vit(in_channels=1, out_channels=6)
    blocks = sum(p.numel() for p in net.blocks.parameters()) + sum(p.numel() for p in net.norm.parameters())
    # Of a block: qkv, projection, two layers of the perceptron, two normalisations.
    by_hand = 12 * (192 * 576 + 576 + 192 * 192 + 192 + 192 * 768 + 768 + 768 * 192 + 192 + 4 * 192) + 2 * 192
    assert blocks == by_hand
    rest = sum(p.numel() for p in net.parameters()) - blocks
    assert rest < 0.05 * blocks + 16 * 16 * 192 + 192, "the decoder is light"


def test_a_token_far_away_counts() -> None:
    torch.manual_seed(0)
    net = build_vit(in_channels=1, out_channels=2, embed_dim=16, depth=2, heads=2, detail_channels=8).eval()
    x = torch.rand(1, 1, 64, 64)
    other = x.clone()
    other[..., 48:, 48:] = 0
    assert (net(x) - net(other))[..., :16, :16].abs().max() > 1e-6
