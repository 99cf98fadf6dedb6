"""Counts of a rapid scan in, expected counts of the whole scan out."""

from __future__ import annotations

import math

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from lib.ops.anscombe import expected_counts, stabilise

DRAWS = 8
REGION_PIXELS = 6.0
"""SD of the Gaussian that says what a region is; chosen, as the next, on procedural scans."""
TRUSTED_COUNTS = 1000.0
"""As many recorded counts of a region weigh as much as the network does: of its level it is taken to know 3 %."""


@torch.inference_mode()
def restore_counts(network: nn.Module, counts: Tensor, fraction: float) -> Tensor:
    """Return what the whole scan is expected to show, its total exactly the recorded one over the fraction.

    The network sees counts with their noise made even (`lib.ops.anscombe`), of the camera's field alone; the way back
    is the unbiased inverse. What it makes of a region is scaled by what was recorded there, as far as that is known,
    and in the end one factor for the whole view sets the total right, so that no count is made or lost. Beside the
    camera's field, the rows and columns between the first and the last with a count, nothing is expected.

    Args:
        network: f_IR1, ``(B, 1, H, W)`` to the same, on any device.
        counts: Recorded counts of the views, ``(V, H, W)``.
        fraction: Of the whole scan's counts that were recorded, above 0 and at most 1.
    Returns:
        Float32 ``(V, H, W)`` on the CPU, no value below 0.
    Raises:
        ValueError: If the fraction cannot be.
    """
    return keep_counts(network_counts(network, counts, fraction), counts, fraction)


@torch.inference_mode()
def network_counts(network: nn.Module, counts: Tensor, fraction: float) -> Tensor:
    """Return what the network alone expects, float64 ``(V, H, W)``, 0 beside the field; otherwise as `restore_counts`.

    It is the mean of what it expects of the field and of its mirror image: at twice the time 3 % less squared error on
    procedural scans, and nobody's left side is restored otherwise than the right.

    Args:
        network: f_IR1.
        counts: As there.
        fraction: As there.
    Raises:
        ValueError: As there.
    Source:
        Timofte et al. 2016, CVPR, "Seven ways to improve example-based single image super resolution", of mirrors.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie above 0 and at most at 1, got {fraction}")
    device = next(network.parameters()).device
    expected = torch.zeros(counts.shape, dtype=torch.float64)
    for view, recorded in enumerate(counts.to(torch.float32)):
        field = camera_field(recorded)
        if recorded[field].numel():
            image = stabilise(recorded[field][None, None], fraction).to(device)
            seen, mirrored = expected_counts(network(torch.cat((image, image.flip(-1))))[:, 0].float().cpu()).double()
            expected[view][field] = (seen + mirrored.flip(-1)) / 2
    return expected


def keep_counts(expected: Tensor, counts: Tensor, fraction: float) -> Tensor:
    """Return expected counts with those of every region, and of every view in all, set by what was recorded.

    Args:
        expected: What a network makes of the counts, ``(V, H, W)``.
        counts: Recorded, of the same shape.
        fraction: Of the whole scan's counts that were recorded.
    Returns:
        Float32 ``(V, H, W)``.
    """
    kept = torch.zeros(counts.shape)
    for view, recorded in enumerate(counts):
        field = camera_field(recorded)
        if recorded[field].numel():
            image = expected[view][field] * _regional(recorded[field], fraction * expected[view][field])
            total = image.sum()
            wanted = recorded.sum(dtype=torch.float64) / fraction
            kept[view][field] = (image * (wanted / total if total > 0 else 1.0)).float()
    return kept


def camera_field(counts: Tensor) -> tuple[slice, slice]:
    """Return the rows and columns, of ``(H, W)``, in which the camera saw anything at all."""
    found = [torch.nonzero((counts > 0).any(axis)).flatten().tolist() for axis in (1, 0)]
    rows, columns = (slice(places[0], places[-1] + 1) if places else slice(0) for places in found)
    return rows, columns


def _regional(counts: Tensor, expected: Tensor) -> Tensor:
    """Return by how much more was recorded about each place than was expected: a factor, 1 where counts are few.

    Counts of a region are Poisson of the mean expected there times the factor, and the factor is taken for Gamma
    distributed about 1 beforehand; this is its mean afterwards.

    Args:
        counts: Recorded, ``(H, W)``.
        expected: Of the same scan, ``(H, W)``.
    Source:
        Gelman et al. 2013, Bayesian Data Analysis, ch. 2.6.
    """
    pixels = 4 * math.pi * REGION_PIXELS**2
    seen, meant = (
        torch.from_numpy(gaussian_filter(image.double().numpy(), REGION_PIXELS, mode="nearest")) * pixels
        for image in (counts, expected)
    )
    return (seen + TRUSTED_COUNTS) / (meant + TRUSTED_COUNTS)


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
