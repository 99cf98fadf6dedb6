"""A case as one vector: what a network's coarsest layer makes of the places where something was found."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

WINDOWS = 8
"""So many slices, or boxes of a 3-D network, stand for a case."""


@torch.inference_mode()
def embedding(
    network: nn.Module,
    volume: torch.Tensor,
    inside: torch.Tensor,
    *,
    roi: Sequence[int],
    slice_offsets: Sequence[int] = (0,),
) -> torch.Tensor:
    """Return the mean features of the last convolution at the coarsest scale, over the places that count.

    What is not inside counts for nothing, so that the vector does not depend on how much else a scan shows.

    Args:
        network: In evaluation mode, of any family with convolutions.
        volume: Prepared, ``(1, X, Y, Z)``.
        inside: Boolean ``(X, Y, Z)``, what was found; everything counts where it is empty.
        roi: The network's window, two axes or three.
        slice_offsets: Channels of a 2.5-D network, in slices.
    Returns:
        ``(E,)``, float32 on the CPU.
    """
    device = next(network.parameters()).device
    inside = inside if bool(inside.any()) else torch.ones_like(inside)
    total, weight = torch.zeros(()), 0.0
    for image, place in _windows(volume, inside, roi, slice_offsets):
        with _coarsest(network) as kept:
            network(image[None].to(device))
        features = kept[0][0].float().cpu()
        weights = F.interpolate(place[None, None].float(), size=features.shape[1:], mode="area")[0, 0]
        total = total + (features * weights).flatten(1).sum(1)
        weight += float(weights.sum())
    return total / weight


def _windows(
    volume: torch.Tensor, inside: torch.Tensor, roi: Sequence[int], slice_offsets: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield images of the network and what is inside them, evenly spread over the slices that have something inside."""
    length = volume.shape[-1]
    filled = torch.nonzero(inside.any(0).any(0)).flatten()
    chosen = filled[np.unique(np.linspace(0, len(filled) - 1, WINDOWS).round().astype(int)).tolist()]
    for z in chosen.tolist():
        if len(roi) == 2:
            channels = (torch.tensor(list(slice_offsets)) + z).clamp(0, length - 1)
            yield volume[0, :, :, channels].movedim(-1, 0), inside[:, :, z]
        else:
            x, y = torch.nonzero(inside[:, :, z]).float().mean(0).round().int().tolist()
            box = tuple(_side(at, size, side) for at, size, side in zip((x, y, z), inside.shape, roi, strict=True))
            yield volume[:, *box], inside[box]


def _side(centre: int, size: int, side: int) -> slice:
    start = min(max(centre - side // 2, 0), max(size - side, 0))
    return slice(start, min(start + side, size))


@contextmanager
def _coarsest(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Keep the last features at the coarsest scale of a pass, of a convolution that mixes channels."""
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if not kept or math.prod(output.shape[2:]) <= math.prod(kept[0].shape[2:]):
            kept[:] = [output]

    convolutions = [m for m in network.modules() if isinstance(m, _ConvNd) and m.groups == 1]
    handles = [each.register_forward_hook(keep) for each in convolutions]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
