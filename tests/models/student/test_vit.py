"""Position encoding and size of the transformer student."""

import torch

from lib.models.student.vit import build_vit, position_encoding


def test_the_position_encoding_matches_values_worked_by_hand() -> None:
    """The four channels are sine and cosine of the row, then of the column, at rate 1."""
    row, column = torch.tensor(1.0), torch.tensor(2.0)
    found = position_encoding(2, 3, 4)
    assert found.shape == (6, 4)
    assert torch.allclose(found[5], torch.stack([row.sin(), row.cos(), column.sin(), column.cos()]))
    assert torch.allclose(found[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))


def test_the_blocks_have_the_size_of_vit_tiny() -> None:
    """Twelve blocks with 192 channels and three heads have the published 5.34 M parameters, without patch embedding."""
    net = build_vit(in_channels=1, out_channels=6)
    blocks = sum(p.numel() for p in net.blocks.parameters()) + sum(p.numel() for p in net.norm.parameters())
    # A block has qkv, projection, two layers of the perceptron and two normalisations.
    by_hand = 12 * (192 * 576 + 576 + 192 * 192 + 192 + 192 * 768 + 768 + 768 * 192 + 192 + 4 * 192) + 2 * 192
    assert blocks == by_hand
    rest = sum(p.numel() for p in net.parameters()) - blocks
    assert rest < 0.05 * blocks + 16 * 16 * 192 + 192, "the decoder is small"


def test_logits_depend_on_distant_tokens() -> None:
    torch.manual_seed(0)
    net = build_vit(in_channels=1, out_channels=2, embed_dim=16, depth=2, heads=2, detail_channels=8).eval()
    x = torch.rand(1, 1, 64, 64)
    other = x.clone()
    other[..., 48:, 48:] = 0
    assert (net(x) - net(other))[..., :16, :16].abs().max() > 1e-6
