"""Embed a case as one vector: the mean features of a network's coarsest layer inside a mask."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

MAX_WINDOWS = 8
"""Largest number of slices, or of boxes for a 3-D network, that represent a case."""


@torch.inference_mode()
def embed_case(
    network: nn.Module,
    volume: torch.Tensor,
    inside: torch.Tensor,
    *,
    roi: Sequence[int],
    slice_offsets: Sequence[int] = (0,),
) -> torch.Tensor:
    """Return the mean features, inside a mask, of the last convolution at the coarsest scale.

    Voxels outside the mask have no weight, so the vector does not depend on the field of view of a scan.

    Args:
        network: A network with convolutions, in evaluation mode.
        volume: Prepared volume, ``(C, X, Y, Z)``.
        inside: Mask of the voxels to average over, bool ``(X, Y, Z)``; an empty mask counts as the whole volume.
        roi: Window of the network in samples, with two or three axes.
        slice_offsets: Offsets of the channels of a 2.5-D network, in slices.
    Returns:
        ``(E,)``, float32 on the CPU.
    """
    device = next(network.parameters()).device
    inside = inside if bool(inside.any()) else torch.ones_like(inside)
    total, weight = torch.zeros(()), 0.0
    for image, mask in _windows(volume, inside, roi, slice_offsets):
        with _capture_coarsest(network) as captured:
            network(image[None].to(device))
        features = captured[0][0].float().cpu()
        weights = F.interpolate(mask[None, None].float(), size=features.shape[1:], mode="area")[0, 0]
        total = total + (features * weights).flatten(1).sum(1)
        weight += float(weights.sum())
    return total / weight


def _windows(
    volume: torch.Tensor, inside: torch.Tensor, roi: Sequence[int], slice_offsets: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield input images and their masks at evenly spaced slices among those that contain mask voxels."""
    length = volume.shape[-1]
    filled = torch.nonzero(inside.any(0).any(0)).flatten()
    chosen = filled[np.unique(np.linspace(0, len(filled) - 1, MAX_WINDOWS).round().astype(int)).tolist()]
    for z in chosen.tolist():
        if len(roi) == 2:
            channels = (torch.tensor(list(slice_offsets)) + z).clamp(0, length - 1)
            yield volume[..., channels].movedim(-1, 0).flatten(0, 1), inside[:, :, z]
        else:
            x, y = torch.nonzero(inside[:, :, z]).float().mean(0).round().int().tolist()
            box = tuple(_side(at, size, side) for at, size, side in zip((x, y, z), inside.shape, roi, strict=True))
            yield volume[:, *box], inside[box]


def _side(centre: int, size: int, side: int) -> slice:
    """Return the range of `side` samples around `centre`, moved and cropped to fit into an axis of `size` samples."""
    start = min(max(centre - side // 2, 0), max(size - side, 0))
    return slice(start, min(start + side, size))


@contextmanager
def _capture_coarsest(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Capture, in a forward pass, the output of the last ungrouped convolution at the coarsest scale."""
    captured: list[torch.Tensor] = []

    def capture(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if not captured or math.prod(output.shape[2:]) <= math.prod(captured[0].shape[2:]):
            captured[:] = [output]

    convolutions = [m for m in network.modules() if isinstance(m, _ConvNd) and m.groups == 1]
    handles = [convolution.register_forward_hook(capture) for convolution in convolutions]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()
