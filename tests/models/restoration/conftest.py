"""A cascade of tiny parts, and a scan for it."""

import pytest
import torch

from lib.models.restoration.build import nafnet_tiny
from lib.models.restoration.cascade import Cascade
from lib.models.restoration.semantics import SamSemantics
from tests.models.sam.toys import randomise_adapters, toy_network

SIDE = 2


def randomise_zeros(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill the parameters that are initialised with zeros with random values, as after training."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return network


def make_cascade(*, guided: bool = True, seed: int = 0) -> Cascade:
    """Return a cascade with a tiny segment-anything network; equal seeds give equal cascades."""
    semantics = SamSemantics(randomise_adapters(toy_network(32)), side=SIDE)
    torch.manual_seed(seed)
    second = nafnet_tiny(2, 1, guide_channels=semantics.count if guided else 0)
    cascade = Cascade(nafnet_tiny(), second, semantics)
    randomise_zeros(cascade.first), randomise_zeros(second, 1)
    return cascade


@pytest.fixture
def cascade() -> Cascade:
    return make_cascade()


@pytest.fixture
def scan() -> torch.Tensor:
    """Stabilised counts of two crops."""
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
