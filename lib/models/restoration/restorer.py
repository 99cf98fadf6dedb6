"""Counts of a rapid scan in, expected counts of the whole scan out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lib.ops.anscombe import expected_counts, stabilise

DRAWS = 8


@torch.inference_mode()
def restore_counts(network: nn.Module, counts: Tensor, fraction: float) -> Tensor:
    """Return what the whole scan is expected to show, its total exactly the recorded one over the fraction.

    The network sees counts with their noise made even (`lib.ops.anscombe`); the way back is the unbiased inverse, and
    one factor for the whole view sets the total right, so that no count is made or lost. Rows and columns without a
    single count, as beside the camera's field, stay empty.

    Args:
        network: f_IR1, ``(B, 1, H, W)`` to the same, on any device.
        counts: Recorded counts of the views, ``(V, H, W)``.
        fraction: Of the whole scan's counts that were recorded, above 0 and at most 1.
    Returns:
        Float32 ``(V, H, W)`` on the CPU, no value below 0.
    Raises:
        ValueError: If the fraction cannot be.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie above 0 and at most at 1, got {fraction}")
    device = next(network.parameters()).device
    counts = counts.to(torch.float32)
    restored = expected_counts(network(stabilise(counts[:, None], fraction).to(device)).float().cpu()[:, 0])
    restored = restored * _field(counts)
    totals = restored.sum((1, 2), dtype=torch.float64)
    wanted = counts.sum((1, 2), dtype=torch.float64) / fraction
    factor = torch.where(totals > 0, wanted / totals.clamp_min(1e-12), 1.0)
    return (restored * factor[:, None, None]).float()


def _field(counts: Tensor) -> Tensor:
    """Return where the camera saw anything at all, ``(V, H, W)``."""
    seen = counts > 0
    return seen.any(2, keepdim=True) & seen.any(1, keepdim=True)


@torch.inference_mode()
def restored_deviation(
    network: nn.Module, expected: Tensor, fraction: float, *, samples: int = DRAWS, seed: int = 0
) -> Tensor:
    """Return how much a restoration varies with the noise of the rapid scan: a parametric bootstrap.

    Rapid scans are drawn from what was restored, and restored again. It tells of noise alone: what the network always
    gets wrong, it gets wrong every time.

    Args:
        network: f_IR1.
        expected: What `restore_counts` returned, ``(V, H, W)``.
        fraction: As there.
        samples: Scans to draw, two at least.
        seed: Of the draws.
    Returns:
        Standard deviations, float32 ``(V, H, W)``.
    Source:
        Efron & Tibshirani 1993, ch. 6.5.
    """
    generator, total, squares = torch.Generator().manual_seed(seed), 0.0, 0.0
    mean = expected.double() * fraction
    for _ in range(samples):
        drawn = restore_counts(network, torch.poisson(mean, generator=generator), fraction).double()
        # Differences from what was restored: their squares are small, and nothing cancels.
        total, squares = total + (drawn - expected), squares + (drawn - expected).square()
    variance = (torch.as_tensor(squares) - torch.as_tensor(total).square() / samples) / (samples - 1)
    return variance.clamp_min(0).sqrt().float()
