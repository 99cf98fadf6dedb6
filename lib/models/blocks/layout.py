"""Channels-last memory layout, in which the kernels of this project and of oneDNN are fastest."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Return a copy of ``x (B, C, *S)`` with the channels innermost in memory."""
    # Clone, because an image of one channel counts as contiguous in both layouts and would keep its strides.
    return x.clone(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def convert_to_channels_last(network: Network) -> Network:
    """Store the filters of a network channels-last and return the network; otherwise every pass would convert them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.weight.data = channels_last(module.weight.data)
    return network
