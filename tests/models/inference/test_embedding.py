"""A case is embedded as the mean coarsest features inside a mask, for every network."""

import pytest
import torch
from torch import nn

from lib.models import BUILDERS
from lib.models.inference.embedding import embed_case


class Halving(nn.Module):
    """A network whose coarsest features are the means of the image over blocks of two."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.down, self.head = conv(1, 1, 2, stride=2, bias=False), conv(1, 2, 1)
        nn.init.constant_(self.down.weight, 0.5**dims)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[2:]
        return self.head(nn.functional.interpolate(self.down(x), size=size))


@pytest.mark.parametrize("roi", [(8, 8), (8, 8, 4)])
def test_the_embedding_is_the_mean_inside_the_mask(roi: tuple[int, ...]) -> None:
    volume, inside = torch.zeros(1, 8, 8, 4), torch.zeros(8, 8, 4, dtype=torch.bool)
    volume[0, 2:6, 2:6], inside[2:6, 2:6] = 0.75, True
    assert embed_case(Halving(len(roi)), volume, inside, roi=roi).tolist() == pytest.approx([0.75])
    inside[0:4, 2:6] = True  # a third of the mask is where the image is 0
    assert embed_case(Halving(len(roi)), volume, inside, roi=roi).tolist() == pytest.approx([0.75 * 4 / 6])


def test_air_around_the_mask_does_not_change_the_embedding() -> None:
    volume, inside = torch.zeros(1, 8, 8, 4), torch.zeros(8, 8, 4, dtype=torch.bool)
    volume[0, 2:6, 2:6], inside[2:6, 2:6] = 0.75, True
    padded = nn.functional.pad(volume, (4, 4, 8, 8, 8, 8)), nn.functional.pad(inside, (4, 4, 8, 8, 8, 8))
    assert embed_case(Halving(2), *padded, roi=(8, 8)).tolist() == pytest.approx([0.75])


def test_an_empty_mask_counts_as_the_whole_volume() -> None:
    volume = torch.full((1, 8, 8, 2), 0.5)
    found = embed_case(Halving(2), volume, torch.zeros(8, 8, 2, dtype=torch.bool), roi=(8, 8))
    assert found.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    "name", sorted(set(BUILDERS) - {"topowmamba_base", "vmunet", "dynunet", "nnunet_plain", "nnunet_resenc"})
)
def test_every_network_gives_an_embedding(name: str) -> None:
    torch.manual_seed(0)
    network = BUILDERS[name](spatial_dims=2, in_channels=3, out_channels=3).eval()
    volume = torch.rand(1, 64, 64, 4)
    vector = embed_case(network, volume, volume[0] > 0.5, roi=(64, 64), slice_offsets=(-1, 0, 1))
    assert vector.ndim == 1 and len(vector) >= 16 and torch.isfinite(vector).all() and float(vector.std()) > 0
    assert all(not module._forward_hooks for module in network.modules()), "hooks are removed"
