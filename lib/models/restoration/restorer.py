"""Estimate the expected counts of the whole scan from the recorded counts of a rapid scan."""

from __future__ import annotations

import math

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from lib.ops.anscombe import expected_counts, stabilise

BOOTSTRAP_SAMPLES = 8
REGION_SD_PIXELS = 6.0
"""SD of the Gaussian that defines a region, in pixels; chosen on procedural scans."""
PRIOR_COUNTS = 1000.0
"""Shape of the Gamma prior of a region's factor: the network's counts are assumed to have an SD of 3 % per region."""


@torch.inference_mode()
def restore_counts(network: nn.Module, counts: Tensor, fraction: float) -> Tensor:
    """Return the expected counts of the whole scan; the total of a view is its recorded total divided by `fraction`.

    The input of the network is the variance-stabilised counts (`lib.ops.anscombe`) of the camera's field of view, and
    its output is converted to counts by the unbiased inverse. The counts of every region are then scaled towards the
    recorded counts, the more strongly the more counts were recorded. Finally one factor per view corrects the total.
    Outside the field of view, which spans the first to the last row and column with a count, the result is 0.

    Args:
        network: f_IR1, which maps ``(B, 1, H, W)`` to ``(B, 1, H, W)``, on any device.
        counts: Recorded counts of the views, ``(V, H, W)``.
        fraction: Fraction of the counts of the whole scan that was recorded, in (0, 1].
    Returns:
        Expected counts, float32 ``(V, H, W)`` on the CPU, none below 0.
    Raises:
        ValueError: If `fraction` is out of its range.
    """
    return match_recorded_counts(predict_counts(network, counts, fraction), counts, fraction)


@torch.inference_mode()
def predict_counts(network: nn.Module, counts: Tensor, fraction: float) -> Tensor:
    """Return the expected counts of the whole scan by the network alone, without correction by the recorded counts.

    The result is the mean of the predictions for the field of view and for its mirror image. Compared with one
    prediction this takes twice the time, reduces the squared error on procedural scans by 3 %, and restores the left
    and the right side alike.

    Args:
        network: f_IR1, which maps ``(B, 1, H, W)`` to ``(B, 1, H, W)``, on any device.
        counts: Recorded counts of the views, ``(V, H, W)``.
        fraction: Fraction of the counts of the whole scan that was recorded, in (0, 1].
    Returns:
        Expected counts, float64 ``(V, H, W)`` on the CPU; 0 outside the field of view.
    Raises:
        ValueError: If `fraction` is out of its range.
    Source:
        Timofte et al. 2016, CVPR, "Seven ways to improve example-based single image super resolution" (mirroring).
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, got {fraction}")
    device = next(network.parameters()).device
    expected = torch.zeros(counts.shape, dtype=torch.float64)
    for view, recorded in enumerate(counts.to(torch.float32)):
        field = camera_field(recorded)
        if recorded[field].numel():
            image = stabilise(recorded[field][None, None], fraction).to(device)
            plain, mirrored = expected_counts(network(torch.cat((image, image.flip(-1))))[:, 0].float().cpu()).double()
            expected[view][field] = (plain + mirrored.flip(-1)) / 2
    return expected


def match_recorded_counts(expected: Tensor, counts: Tensor, fraction: float) -> Tensor:
    """Scale expected counts to agree with the recorded counts, region by region and in the total of every view.

    Args:
        expected: Expected counts of the whole scan by a network, ``(V, H, W)``.
        counts: Recorded counts, ``(V, H, W)``.
        fraction: Fraction of the counts of the whole scan that was recorded, in (0, 1].
    Returns:
        Expected counts, float32 ``(V, H, W)``; 0 outside the field of view.
    """
    matched = torch.zeros(counts.shape)
    for view, recorded in enumerate(counts):
        field = camera_field(recorded)
        if recorded[field].numel():
            image = expected[view][field] * _regional_factors(recorded[field], fraction * expected[view][field])
            total = image.sum()
            target = recorded.sum(dtype=torch.float64) / fraction
            matched[view][field] = (image * (target / total if total > 0 else 1.0)).float()
    return matched


def camera_field(counts: Tensor) -> tuple[slice, slice]:
    """Return the field of view of the camera: the rows and columns from the first to the last with a count.

    Args:
        counts: Recorded counts of a view, ``(H, W)``.
    """
    indices = [torch.nonzero((counts > 0).any(axis)).flatten().tolist() for axis in (1, 0)]
    rows, columns = (slice(found[0], found[-1] + 1) if found else slice(0) for found in indices)
    return rows, columns


def _regional_factors(counts: Tensor, expected: Tensor) -> Tensor:
    """Return the ratio of recorded to expected counts in the region around every pixel; near 1 where counts are few.

    The counts of a region are Poisson distributed with the expected counts times a factor as their mean. The prior of
    the factor is a Gamma distribution with mean 1, and the result is the posterior mean of the factor.

    Args:
        counts: Recorded counts, ``(H, W)``.
        expected: Expected counts of the same rapid scan, ``(H, W)``.
    Returns:
        Factors, float64 ``(H, W)``.
    Source:
        Gelman et al. 2013, Bayesian Data Analysis, ch. 2.6.
    """
    pixels = 4 * math.pi * REGION_SD_PIXELS**2
    recorded_sum, expected_sum = (
        torch.from_numpy(gaussian_filter(image.double().numpy(), REGION_SD_PIXELS, mode="nearest")) * pixels
        for image in (counts, expected)
    )
    return (recorded_sum + PRIOR_COUNTS) / (expected_sum + PRIOR_COUNTS)


@torch.inference_mode()
def bootstrap_deviation(
    network: nn.Module, expected: Tensor, fraction: float, *, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> Tensor:
    """Return the standard deviation of a restoration due to the noise of the rapid scan, by a parametric bootstrap.

    Rapid scans are drawn from the restored scan and restored again. The result describes noise only; a systematic error
    of the network is not included.

    Args:
        network: f_IR1, which maps ``(B, 1, H, W)`` to ``(B, 1, H, W)``, on any device.
        expected: Expected counts from `restore_counts`, ``(V, H, W)``.
        fraction: Fraction of the counts of the whole scan that was recorded, in (0, 1].
        samples: Number of bootstrap samples, at least 2.
        seed: Seed of the random draws.
    Returns:
        Standard deviations in counts, float32 ``(V, H, W)``.
    Source:
        Efron & Tibshirani 1993, ch. 6.5.
    """
    generator, total, squares = torch.Generator().manual_seed(seed), 0.0, 0.0
    mean = expected.double() * fraction
    for _ in range(samples):
        drawn = restore_counts(network, torch.poisson(mean, generator=generator), fraction).double()
        # Sum differences from the restored scan: their squares are small, so the variance has no cancellation.
        total, squares = total + (drawn - expected), squares + (drawn - expected).square()
    variance = (torch.as_tensor(squares) - torch.as_tensor(total).square() / samples) / (samples - 1)
    return variance.clamp_min(0).sqrt().float()
