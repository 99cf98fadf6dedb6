"""The decoder has a head per scale, finest first, and concatenates or adds skips."""

import pytest
import torch

from lib.models.topowmamba.decoder import Decoder, UpBlock

CHANNELS = (4, 6, 8)


@pytest.mark.parametrize("add_skips", [False, True])
@pytest.mark.parametrize("dims", [2, 3])
def test_logits_at_every_scale(dims: int, add_skips: bool) -> None:
    decoder = Decoder(dims, CHANNELS, 5, heads=2, add_skips=add_skips)
    features = [torch.randn(1, width, *[16 // 2**level] * dims) for level, width in enumerate(CHANNELS)]
    fine, coarse = decoder(features, 2)
    assert fine.shape == (1, 5, *[16] * dims) and coarse.shape == (1, 5, *[8] * dims)
    assert torch.equal(decoder(features, 1)[0], fine), "inference computes one head"


@pytest.mark.parametrize("add_skips", [False, True])
def test_the_skip_reaches_the_output(add_skips: bool) -> None:
    block = UpBlock(2, 6, 4, add_skips=add_skips)
    coarse, skip = torch.randn(1, 6, 4, 4), torch.randn(1, 4, 8, 8, requires_grad=True)
    block(coarse, skip).square().sum().backward()
    assert skip.grad is not None and skip.grad.abs().sum() > 0


def test_the_number_of_heads_is_an_argument() -> None:
    assert len(Decoder(2, CHANNELS, 5, heads=1).heads) == 1
