"""Exponential moving average of a network's weights; validation and the saved version use the averaged weights."""

import copy

import torch
from torch import nn


class WeightAverage:
    """Average of a network's weights over its last steps.

    The decay is ``min(decay, (1 + t) / (10 + t))`` at step t. It grows, so the first weights have little
    influence even in a short run.

    Args:
        network: The network that is trained; the average is a copy of it.
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
        """Move the average towards the weights of `network`; copy its buffers (running statistics)."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averaged = [parameter.detach() for parameter in self.network.parameters()]
        torch._foreach_lerp_(averaged, [parameter.detach() for parameter in network.parameters()], 1 - decay)
        for averaged_buffer, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            averaged_buffer.copy_(buffer)
