"""Pad an image to the stride of a network, and crop the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F


def pad_to_multiple(x: torch.Tensor, multiple: int, *, at_least: int = 1) -> torch.Tensor:
    """Pad the end of every spatial axis to the next multiple by repeating the last sample.

    The padding is not zero, because zero is air in a windowed CT, and an airway network could segment a false edge to
    air.

    Args:
        x: Images, ``(B, C, *S)``.
        multiple: The length of every axis becomes a multiple of this number of samples.
        at_least: Least number of multiples in the whole image; the last axis is made longer for it. Instance norm needs
            two positions at the coarsest level of a network.
    Returns:
        ``(B, C, *S')``, where every ``S'`` is the next multiple; `x` itself if no padding is needed.
    """
    missing = [-size % multiple for size in x.shape[2:]]
    positions = math.prod(-(-size // multiple) for size in x.shape[2:])
    if positions < at_least:
        missing[-1] += (at_least - 1) * multiple
    if not any(missing):
        return x
    widths = [width for size in reversed(missing) for width in (0, size)]
    return F.pad(x, widths, mode="replicate")


def crop(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Crop the end of the spatial axes of ``x (B, C, *S)`` to `shape`, and return a view."""
    return x[(slice(None), slice(None), *(slice(size) for size in shape))]


def crop_outputs(outputs: list[torch.Tensor], shape: Sequence[int]) -> list[torch.Tensor]:
    """Crop logits at resolutions 1, 1/2, 1/4, ... to the shape of an image.

    Args:
        outputs: Logits, finest first; entry i is ``(B, K, *S / 2**i)``.
        shape: Spatial shape of the image before padding.
    Returns:
        Logits, finest first; the spatial shape of entry i is ``ceil(shape / 2**i)``, the shape of ``label[::2**i]``.
    """
    return [crop(logits, [-(-size // 2**i) for size in shape]) for i, logits in enumerate(outputs)]
