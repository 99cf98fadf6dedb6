"""The average of weights, with values computed by hand."""

import torch
from torch import nn

from lib.learning.loop.average import WeightAverage


def set_weight(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_decay_grows_to_its_limit() -> None:
    network = nn.Linear(1, 1)
    set_weight(network, 0)
    average = WeightAverage(network, decay=0.15)
    set_weight(network, 1)
    expected = 0.0
    for decay in (0.1, 0.15, 0.15):
        average.update(network)
        expected = decay * expected + (1 - decay)
        assert all(torch.allclose(weight, torch.tensor(expected)) for weight in average.network.parameters())


def test_without_decay_the_average_equals_the_network_and_buffers_are_copied() -> None:
    network = nn.BatchNorm1d(3)
    average = WeightAverage(network, decay=0)
    network(torch.randn(8, 3) * 5)
    set_weight(network, 0.3)
    average.update(network)
    for averaged, trained in zip(average.network.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(averaged, trained)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
