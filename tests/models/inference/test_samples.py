"""Augmented views, Monte Carlo dropout and member stacks."""

import pytest
import torch
from torch import nn

from lib.models.blocks.ss2d import DropPath
from lib.models.inference.predictor import Predictor
from lib.models.inference.samples import INTENSITY_SHIFT, AugmentedView, MemberStack, MonteCarloDropout, augmented_views
from lib.ops.mirror import Mirroring


class Pointwise(nn.Module):
    """A network with two classes whose logits are the image and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(1, 2, 1, bias=False)
        self.network.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


class LeftOnly(nn.Module):
    """A network that copies the first row of X only, so mirroring changes its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        out[:, :, 0] = x[:, :, 0]
        return out


def test_member_logits_are_concatenated() -> None:
    x = torch.rand(2, 1, 4, 4)
    network = Pointwise()
    out = MemberStack([network, AugmentedView(network, shift=0.1)])(x)
    assert out.shape == (2, 4, 4, 4)
    assert torch.equal(out[:, 0], x[:, 0]) and torch.allclose(out[:, 2], (x[:, 0] + 0.1).clamp(0, 1))


def test_a_mirrored_view_returns_logits_in_the_orientation_of_the_image() -> None:
    x = torch.rand(1, 1, 6, 5)
    assert torch.equal(AugmentedView(Pointwise(), mirroring=Mirroring())(x), Pointwise()(x))
    last = AugmentedView(LeftOnly(), mirroring=Mirroring())(x)
    assert torch.equal(last[:, :, -1], x[:, :, -1]) and not last[:, :, :-1].any()


def test_the_first_view_is_the_unchanged_image() -> None:
    found = [
        (v.mirroring is not None, round(v.shift / INTENSITY_SHIFT, 3))
        for v in augmented_views(Pointwise(), 6, False, Mirroring())
        if isinstance(v, AugmentedView)
    ]
    assert found == [
        (False, 0),
        (True, 0),
        (False, 1),
        (True, -1),
        (False, 2),
        (True, -2),
    ]


class Sides(nn.Module):
    """A network that names the bright samples in the left half of the first axis 1 and those in the right half 2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = torch.arange(x.shape[2]).view(-1, *[1] * (x.ndim - 3)) < x.shape[2] / 2
        return torch.cat([1 - x, x * left, x * ~left], 1)


@pytest.mark.parametrize("shape", [(2, 1, 8, 6), (1, 1, 8, 6, 4)])
def test_every_view_gives_each_side_its_name(shape: tuple[int, ...]) -> None:
    x = (torch.rand(shape) > 0.5).float()
    expected = Sides()(x).argmax(1)
    paired = [view(x).argmax(1) for view in augmented_views(Sides(), 4, False, Mirroring(((1, 2),)))]
    assert all(torch.equal(answer, expected) for answer in paired)
    unmirrored = [view(x).argmax(1) for view in augmented_views(Sides(), 4, False, None)]
    assert all(torch.equal(answer, expected) for answer in unmirrored)
    unaware = augmented_views(Sides(), 2, False, Mirroring())[1](x).argmax(1)
    assert torch.equal(unaware, torch.tensor([0, 2, 1])[expected]), "without the pair, sides are exchanged"


def test_without_mirroring_each_view_has_an_intensity_of_its_own() -> None:
    views = augmented_views(Pointwise(), 5, False, None)
    assert [(v.mirroring, round(v.shift / INTENSITY_SHIFT)) for v in views if isinstance(v, AugmentedView)] == [
        (None, 0), (None, 1), (None, -1), (None, 2), (None, -2),
    ]  # fmt: skip


def test_a_standardised_image_is_shifted_without_clamping() -> None:
    x = torch.randn(1, 1, 6, 5) * 3
    view = augmented_views(Pointwise(), 2, True, None)[1]
    torch.testing.assert_close(view(x)[:, 0], x[:, 0] + 4 * INTENSITY_SHIFT)


def test_a_predictor_accepts_a_member_stack() -> None:
    volume = torch.rand(1, 12, 10, 5)
    samples = Predictor(MemberStack(augmented_views(Pointwise(), 2, False, Mirroring())), roi=(8, 8))
    plain = Predictor(Pointwise(), roi=(8, 8)).logits(volume)
    assert torch.allclose(samples.logits(volume), torch.cat([plain, plain]), atol=1e-6)


@pytest.mark.parametrize("dropping", [nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath(0.5)])
def test_only_dropout_stays_active_in_evaluation(dropping: nn.Module) -> None:
    network = nn.Sequential(Pointwise(), nn.BatchNorm2d(2), dropping)
    x = torch.rand(8, 1, 8, 8)
    member = MonteCarloDropout(network).eval()
    torch.manual_seed(0)
    assert not torch.equal(member(x), member(x))
    assert not network[1].training, "batch normalisation uses its running statistics"
    torch.manual_seed(3)
    first = member(x)
    torch.manual_seed(3)
    assert torch.equal(member(x), first)


@pytest.mark.parametrize("network", [Pointwise(), nn.Sequential(Pointwise(), nn.Dropout(0.0), DropPath(0.0))])
def test_a_network_without_dropout_raises(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="no dropout"):
        MonteCarloDropout(network)
