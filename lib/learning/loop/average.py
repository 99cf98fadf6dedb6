"""An exponential moving average of a network's weights: what is judged and kept."""

import copy

import torch
from torch import nn


class WeightAverage:
    """The average of a network's weights over its last steps.

    The decay grows from zero, ``min(decay, (1 + t) / (10 + t))``, so a short run is not judged on its first weights.

    Args:
        network: The network that trains; its copy is held.
        decay: Decay per step in [0, 1); 0 follows the network exactly.
    Source:
        Polyak & Juditsky 1992; the growing decay as in TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards `network`; buffers (running statistics) are copied."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averaged = [parameter.detach() for parameter in self.network.parameters()]
        torch._foreach_lerp_(averaged, [parameter.detach() for parameter in network.parameters()], 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
