"""Channels innermost in memory: the layout in which the project's kernels and oneDNN's are fastest."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Return ``x (B, C, *S)`` with its channels innermost in memory."""
    # A clone, since an image of one channel is contiguous either way and its strides would say nothing.
    return x.clone(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def lay_channels_last(network: Network) -> Network:
    """Return the network with its filters in the layout of its images, or each pass would turn them round again."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.weight.data = channels_last(module.weight.data)
    return network
