"""Padding of an image to a network's stride, and cropping of what comes back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Replicate the last border of every spatial axis until it divides by `multiple`.

    Replication, not zeros: zero is air in a windowed CT, and a false air edge is what an airway network would find.

    Args:
        x: Images, ``(B, C, *S)``.
        multiple: The stride to divide by, in samples.
    Returns:
        ``(B, C, *S')`` with each ``S'`` the next multiple; `x` itself where nothing is missing.
    """
    missing = [-size % multiple for size in x.shape[2:]]
    if not any(missing):
        return x
    widths = [width for size in reversed(missing) for width in (0, size)]
    return F.pad(x, widths, mode="replicate")


def crop(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return the leading `shape` of the spatial axes of ``x (B, C, *S)``, as a view."""
    return x[(slice(None), slice(None), *(slice(size) for size in shape))]


def crop_outputs(outputs: list[torch.Tensor], shape: Sequence[int]) -> list[torch.Tensor]:
    """Crop logits at 1, 1/2, 1/4, ... to an image's shape.

    Args:
        outputs: Logits, finest first, each ``(B, K, *S / 2**i)``.
        shape: Shape of the image before it was padded.
    Returns:
        The same list with each ``S`` equal to ``ceil(shape / 2**i)``, which is the shape of a label taken ``[::2**i]``.
    """
    return [crop(logits, [-(-size // 2**i) for size in shape]) for i, logits in enumerate(outputs)]
