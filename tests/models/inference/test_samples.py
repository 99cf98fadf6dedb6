"""Several answers in one pass: views that are turned back, dropout that stays on, members side by side."""

import pytest
import torch
from torch import nn

from lib.models.blocks.ss2d import DropPath
from lib.models.inference.predictor import Predictor
from lib.models.inference.samples import SHIFT_HU, Dropping, Samples, View, views


class Pointwise(nn.Module):
    """Two classes whose logits are the image and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(1, 2, 1, bias=False)
        self.network.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


class LeftOnly(nn.Module):
    """Sees the first row of X only: not the same in a mirror."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        out[:, :, 0] = x[:, :, 0]
        return out


def test_members_lie_side_by_side() -> None:
    x = torch.rand(2, 1, 4, 4)
    network = Pointwise()
    out = Samples([network, View(network, shift=0.1)])(x)
    assert out.shape == (2, 4, 4, 4)
    assert torch.equal(out[:, 0], x[:, 0]) and torch.allclose(out[:, 2], (x[:, 0] + 0.1).clamp(0, 1))


def test_a_mirrored_view_answers_as_the_image_lies() -> None:
    x = torch.rand(1, 1, 6, 5)
    assert torch.equal(View(Pointwise(), mirrored=True)(x), Pointwise()(x))
    last = View(LeftOnly(), mirrored=True)(x)
    assert torch.equal(last[:, :, -1], x[:, :, -1]) and not last[:, :, :-1].any()


def test_views_begin_with_the_image_itself() -> None:
    found = [(v.mirrored, round(v.shift * 1400, 3)) for v in views(Pointwise(), 6, (-1000, 400)) if isinstance(v, View)]
    assert found == [(False, 0), (True, 0), (False, SHIFT_HU), (True, -SHIFT_HU), (False, 60), (True, -60)]


def test_a_predictor_takes_samples_for_a_network() -> None:
    volume = torch.rand(1, 12, 10, 5)
    samples = Predictor(Samples(views(Pointwise(), 2, (0, 1))), roi=(8, 8))
    plain = Predictor(Pointwise(), roi=(8, 8)).logits(volume)
    assert torch.allclose(samples.logits(volume), torch.cat([plain, plain]), atol=1e-6)


@pytest.mark.parametrize("dropping", [nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath(0.5)])
def test_dropout_stays_on_and_nothing_else(dropping: nn.Module) -> None:
    network = nn.Sequential(Pointwise(), nn.BatchNorm2d(2), dropping)
    x = torch.rand(8, 1, 8, 8)
    member = Dropping(network).eval()
    torch.manual_seed(0)
    assert not torch.equal(member(x), member(x))
    assert not network[1].training, "statistics of a batch are not those learned"
    torch.manual_seed(3)
    first = member(x)
    torch.manual_seed(3)
    assert torch.equal(member(x), first)


@pytest.mark.parametrize("network", [Pointwise(), nn.Sequential(Pointwise(), nn.Dropout(0.0), DropPath(0.0))])
def test_a_network_that_drops_nothing_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="drops nothing"):
        Dropping(network)
