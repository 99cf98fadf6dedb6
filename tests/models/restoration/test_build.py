"""Sizes: those published, exactly, and small ones for CPUs."""

import pytest
import torch

from lib.models import RESTORERS
from lib.models.restoration.build import cascade_of, nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny
from lib.models.restoration.semantics import SamSemantics
from tests.models.sam.toys import toy_network


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


def test_cascades_with_parts_left_out() -> None:
    semantics = SamSemantics(toy_network(32), side=2)
    whole, unguided = cascade_of(nafnet_tiny, semantics), cascade_of(nafnet_tiny, semantics, guided=False)
    plain, alone = cascade_of(nafnet_tiny), cascade_of(nafnet_tiny, semantics, second=False)
    assert whole.guided and not unguided.guided and not plain.guided
    assert whole.semantics is unguided.semantics is semantics and plain.semantics is alone.semantics is None
    assert alone.second is None and plain.second is not None
    names = {frozenset(cascade.first.state_dict()) for cascade in (whole, unguided, plain, alone)}
    assert len(names) == 1, "what is exported is the same network in all"


def test_one_seed_is_one_first_stage_whatever_is_left_out() -> None:
    weights = []
    for options in ({}, {"second": False}):
        torch.manual_seed(5)
        weights.append(cascade_of(nafnet_tiny, **options).first.first.weight)
    assert torch.equal(*weights)
