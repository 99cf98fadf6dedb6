"""NAFNet: identity blocks at first, gates and attention by hand, any size, a guide where it takes one."""

import pytest
import torch

from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.nafnet import ChannelAttention, Gate, NAFBlock, NAFNet, local_mean
from tests.models.restoration.conftest import awake

X = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))


def test_a_block_is_the_identity_until_it_learns() -> None:
    block = NAFBlock(6)
    assert torch.equal(block(X), X)
    assert not torch.allclose(awake(block)(X), X)


def test_both_halves_of_a_block_have_a_scale_of_their_own() -> None:
    """With beta one and gamma zero the first part alone is added, and the other way round."""
    block = NAFBlock(6)
    block.beta.data.fill_(1)
    torch.testing.assert_close(block(X), X + block.spatial(X))
    block.beta.data.zero_(), block.gamma.data.fill_(1)
    torch.testing.assert_close(block(X), X + block.pointwise(X))


def test_a_gate_multiplies_its_halves() -> None:
    x = torch.tensor([2.0, 3.0, 5.0, 7.0]).view(1, 4, 1, 1)
    assert Gate()(x).flatten().tolist() == [10, 21]


def test_channel_attention_by_hand() -> None:
    """Weight 3 and bias 1: one mean of 2 makes 7 of 1; means of two neighbours 2, 4 and 6, the last twice."""
    for window, values, expected in ((8, [1.0, 3.0], [7, 21]), (2, [1.0, 3.0, 5.0, 7.0], [7, 39, 95, 133])):
        attention = ChannelAttention(1, window)
        with torch.no_grad():
            attention.weigh.weight.fill_(3), attention.weigh.bias.fill_(1)
            assert attention(torch.tensor([[[values]]])).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("window", [1, 4, 5, 9])
def test_means_about_a_place_by_the_definition(window: int) -> None:
    """A window begins a half before its place, and is moved back into the image."""
    x = torch.rand(1, 2, 7, 11, generator=torch.Generator().manual_seed(1))
    found = local_mean(x, window)
    for row in range(7):
        for column in range(11):
            tall, wide = min(window, 7), min(window, 11)
            top = min(max(row - (tall - 1) // 2, 0), 7 - tall)
            left = min(max(column - (wide - 1) // 2, 0), 11 - wide)
            expected = x[..., top : top + tall, left : left + wide].mean((2, 3))
            torch.testing.assert_close(found[..., row, column], expected)
    assert local_mean(x, 11).shape == (1, 2, 1, 1)


def test_a_window_is_as_wide_at_every_scale() -> None:
    """64 pixels are 32 samples of the next scale and 16 of the third."""
    found = [block.spatial[4].window for block in nafnet_tiny().modules() if isinstance(block, NAFBlock)]
    assert sorted(found, reverse=True) == [64, 64, 32, 32, 16]


def test_what_lies_far_away_changes_nothing() -> None:
    """Air below a body, which a mean over the whole image would take in."""
    network, x = awake(nafnet_tiny(window=16)), torch.rand(1, 1, 96, 16)
    with torch.inference_mode():
        near, far = network(x), network(torch.nn.functional.pad(x, (0, 0, 0, 200)))
        torch.testing.assert_close(far[:, :, :48], near[:, :, :48])
        whole = awake(nafnet_tiny(window=1000))
        assert not torch.allclose(whole(torch.nn.functional.pad(x, (0, 0, 0, 200)))[:, :, :48], whole(x)[:, :, :48])


@pytest.mark.parametrize("shape", [(1, 1), (9, 6), (16, 4), (33, 50)])
def test_an_image_of_any_size_keeps_it(shape: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert awake(nafnet_tiny())(torch.rand(1, 1, *shape)).shape == (1, 1, *shape)


def test_until_it_learns_it_gives_back_the_first_channels() -> None:
    network, x = nafnet_tiny(3, 1), torch.rand(1, 3, 8, 8)
    assert torch.equal(network(x), x[:, :1])
    assert not torch.allclose(awake(network)(x), x[:, :1])


def test_every_parameter_learns() -> None:
    network = awake(nafnet_tiny(2, 1, guide_channels=4))
    (network(torch.rand(2, 2, 8, 8), torch.rand(2, 4, 8, 8)) * torch.randn(2, 1, 8, 8)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_a_guide_changes_nothing_at_first_and_something_later() -> None:
    network = nafnet_tiny(guide_channels=2)
    x, guides = torch.rand(1, 1, 8, 8), torch.rand(2, 1, 2, 8, 8)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    assert torch.equal(network(x, guides[0]), network(x, guides[1]))
    awake(network)
    assert not torch.allclose(network(x, guides[0]), network(x, guides[1]))


@pytest.mark.parametrize(("channels", "given"), [(0, True), (3, False)])
def test_a_guide_too_many_or_too_few_is_refused(channels: int, given: bool) -> None:
    network, x = nafnet_tiny(guide_channels=channels), torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="guide"):
        network(x, torch.rand(1, 3, 8, 8) if given else None)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"encoder": (1, 1), "decoder": (1,)}, "as many scales"),
        ({"encoder": (1,), "decoder": (1,), "out_channels": 2}, "out_channels"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        NAFNet(width=4, middle=1, **options)
