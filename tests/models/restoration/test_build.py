"""Sizes: those published, exactly, and small ones for CPUs."""

import pytest
import torch

from lib.models import RESTORERS
from lib.models.restoration.build import nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny


@pytest.mark.parametrize(("build", "count"), [(nafnet_gopro, 17_111_907), (nafnet_sidd, 29_159_715)])
def test_published_sizes(build, count: int) -> None:
    """As published for three colours."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build(3, 3).parameters()) == count


@pytest.mark.parametrize(("build", "most"), [(nafnet_small, 500_000), (nafnet_tiny, 20_000)])
def test_small_sizes(build, most: int) -> None:
    assert sum(parameter.numel() for parameter in build().parameters()) <= most


@pytest.mark.parametrize("name", RESTORERS)
def test_every_restorer_by_name_takes_a_guide_and_two_channels(name: str) -> None:
    with torch.device("meta"):
        network = RESTORERS[name](2, 1, guide_channels=5)
        x = torch.zeros(1, 2, 16, 16)
        assert network(x, torch.zeros(1, 5, 16, 16)).shape == (1, 1, 16, 16)
