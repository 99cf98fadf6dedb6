"""Named sizes have the published number of parameters, and cascades can be built without some parts."""

import pytest
import torch

from lib.models import RESTORERS
from lib.models.restoration.build import build_cascade, nafnet_gopro, nafnet_sidd, nafnet_small, nafnet_tiny
from lib.models.restoration.semantics import SamSemantics
from tests.models.sam.toys import toy_network


@pytest.mark.parametrize(("build", "count"), [(nafnet_gopro, 17_111_907), (nafnet_sidd, 29_159_715)])
def test_the_number_of_parameters_is_the_published_one(build, count: int) -> None:
    """The published numbers of parameters are for images with three colours."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build(3, 3).parameters()) == count


@pytest.mark.parametrize(("build", "limit"), [(nafnet_small, 500_000), (nafnet_tiny, 20_000)])
def test_small_sizes_have_few_parameters(build, limit: int) -> None:
    assert sum(parameter.numel() for parameter in build().parameters()) <= limit


@pytest.mark.parametrize("name", RESTORERS)
def test_every_named_restorer_accepts_a_guide_and_two_channels(name: str) -> None:
    with torch.device("meta"):
        network = RESTORERS[name](2, 1, guide_channels=5)
        x = torch.zeros(1, 2, 16, 16)
        assert network(x, torch.zeros(1, 5, 16, 16)).shape == (1, 1, 16, 16)


def test_cascades_can_be_built_without_some_parts() -> None:
    semantics = SamSemantics(toy_network(32), side=2)
    whole, unguided = build_cascade(nafnet_tiny, semantics), build_cascade(nafnet_tiny, semantics, guided=False)
    plain, alone = build_cascade(nafnet_tiny), build_cascade(nafnet_tiny, semantics, second=False)
    assert whole.guided and not unguided.guided and not plain.guided
    assert whole.semantics is unguided.semantics is semantics and plain.semantics is alone.semantics is None
    assert alone.second is None and plain.second is not None
    names = {frozenset(cascade.first.state_dict()) for cascade in (whole, unguided, plain, alone)}
    assert len(names) == 1, "all cascades export the same network"


def test_equal_seeds_give_equal_first_stages_with_and_without_a_second() -> None:
    weights = []
    for options in ({}, {"second": False}):
        torch.manual_seed(5)
        weights.append(build_cascade(nafnet_tiny, **options).first.first.weight)
    assert torch.equal(*weights)
