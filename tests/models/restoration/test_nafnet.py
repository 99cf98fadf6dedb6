"""Blocks, gates, channel attention and guides of NAFNet."""

import pytest
import torch

from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.nafnet import ChannelAttention, Gate, NAFBlock, NAFNet, local_mean
from tests.models.restoration.conftest import randomise_zeros

X = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))


def test_a_new_block_is_the_identity() -> None:
    block = NAFBlock(6)
    assert torch.equal(block(X), X)
    assert not torch.allclose(randomise_zeros(block)(X), X)


def test_both_parts_of_a_block_have_their_own_scale() -> None:
    """With beta 1 and gamma 0 only the first part is added; with beta 0 and gamma 1 only the second part."""
    block = NAFBlock(6)
    block.beta.data.fill_(1)
    torch.testing.assert_close(block(X), X + block.spatial(X))
    block.beta.data.zero_(), block.gamma.data.fill_(1)
    torch.testing.assert_close(block(X), X + block.pointwise(X))


def test_a_gate_multiplies_its_halves() -> None:
    x = torch.tensor([2.0, 3.0, 5.0, 7.0]).view(1, 4, 1, 1)
    assert Gate()(x).flatten().tolist() == [10, 21]


def test_channel_attention_matches_values_worked_by_hand() -> None:
    """Weight 3, bias 1: the single mean 2 gives 1 x 7. Means of two neighbours are 2, 4 and 6; 6 is used twice."""
    for window, values, expected in ((8, [1.0, 3.0], [7, 21]), (2, [1.0, 3.0, 5.0, 7.0], [7, 39, 95, 133])):
        attention = ChannelAttention(1, window)
        with torch.no_grad():
            attention.weigh.weight.fill_(3), attention.weigh.bias.fill_(1)
            assert attention(torch.tensor([[[values]]])).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("window", [1, 4, 5, 9])
def test_local_mean_equals_its_definition(window: int) -> None:
    """A window is centred on its position, and moved into the image at the border."""
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


def test_windows_cover_the_same_area_at_every_scale() -> None:
    """64 pixels are 32 samples at the second scale and 16 samples at the third."""
    found = [block.spatial[4].window for block in nafnet_tiny().modules() if isinstance(block, NAFBlock)]
    assert sorted(found, reverse=True) == [64, 64, 32, 32, 16]


def test_distant_pixels_do_not_change_the_output() -> None:
    """Air below a body would change a mean over the whole image."""
    network, x = randomise_zeros(nafnet_tiny(window=16)), torch.rand(1, 1, 96, 16)
    with torch.inference_mode():
        near, far = network(x), network(torch.nn.functional.pad(x, (0, 0, 0, 200)))
        torch.testing.assert_close(far[:, :, :48], near[:, :, :48])
        whole = randomise_zeros(nafnet_tiny(window=1000))
        assert not torch.allclose(whole(torch.nn.functional.pad(x, (0, 0, 0, 200)))[:, :, :48], whole(x)[:, :, :48])


@pytest.mark.parametrize("shape", [(1, 1), (9, 6), (16, 4), (33, 50)])
def test_images_of_any_size_keep_their_size(shape: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert randomise_zeros(nafnet_tiny())(torch.rand(1, 1, *shape)).shape == (1, 1, *shape)


def test_a_new_network_returns_the_first_channels() -> None:
    network, x = nafnet_tiny(3, 1), torch.rand(1, 3, 8, 8)
    assert torch.equal(network(x), x[:, :1])
    assert not torch.allclose(randomise_zeros(network)(x), x[:, :1])


def test_every_parameter_has_a_gradient() -> None:
    network = randomise_zeros(nafnet_tiny(2, 1, guide_channels=4))
    (network(torch.rand(2, 2, 8, 8), torch.rand(2, 4, 8, 8)) * torch.randn(2, 1, 8, 8)).sum().backward()
    without_gradient = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without_gradient


def test_a_guide_has_an_effect_only_after_training() -> None:
    network = nafnet_tiny(guide_channels=2)
    x, guides = torch.rand(1, 1, 8, 8), torch.rand(2, 1, 2, 8, 8)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    assert torch.equal(network(x, guides[0]), network(x, guides[1]))
    randomise_zeros(network)
    assert not torch.allclose(network(x, guides[0]), network(x, guides[1]))


@pytest.mark.parametrize(("channels", "given"), [(0, True), (3, False)])
def test_an_unexpected_or_missing_guide_raises(channels: int, given: bool) -> None:
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
def test_bad_sizes_raise(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        NAFNet(width=4, middle=1, **options)
