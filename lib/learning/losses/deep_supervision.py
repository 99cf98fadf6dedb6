"""Deep supervision: one loss over outputs at several scales."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F


def scale_weights(count: int) -> list[float]:
    """Return ``1, 1/2, 1/4, ...`` normalised to sum to one, finest first.

    Args:
        count: Number of outputs.
    Returns:
        ``count`` weights.
    """
    weights = [0.5**index for index in range(count)]
    return [weight / sum(weights) for weight in weights]


def deep_supervision_loss(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: torch.Tensor | Sequence[torch.Tensor],
    target: torch.Tensor,
) -> torch.Tensor:
    """Return the weighted sum of ``loss`` over the outputs, each against the labels on its own grid.

    Labels are resampled to a coarser grid by nearest neighbour, so 255 (ignored) stays 255 and no new label appears.

    Args:
        loss: ``loss(logits (B, K, *S), target (B, *S)) -> scalar``.
        outputs: Logits, ``(B, K, *S)``, or several of them, finest first.
        target: Labels, ``(B, *S)``, on the grid of the finest output.
    Returns:
        A scalar.
    Source:
        Lee et al. 2015, arXiv:1409.5185; weights 1, 1/2, 1/4, 1/8 as in nnU-Net.
    """
    scales = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    terms = [
        weight * loss(logits, _on_grid(target, logits.shape[2:]))
        for weight, logits in zip(scale_weights(len(scales)), scales, strict=True)
    ]
    return torch.stack(terms).sum()


def _on_grid(target: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if target.shape[1:] == shape:
        return target
    return F.interpolate(target[:, None].float(), size=tuple(shape), mode="nearest")[:, 0].to(target.dtype)
