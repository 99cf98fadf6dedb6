"""Baselines for restored scans: a Gaussian filter, and non-local means on variance-stabilised counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means

from lib.evaluation.metrics.restoration import deviance
from lib.ops.anscombe import SCALE, expected_counts, stabilise

Counts = NDArray[Any]
Smoother = Callable[[Counts, float, float], Counts]
"""Function ``(counts, fraction, strength) -> expected counts`` of the whole scan, both ``(V, H, W)``."""
PATCH, REACH = 5, 6
"""Patch size and search distance of the non-local means, in pixels."""


def gaussian(counts: Counts, fraction: float, sigma: float) -> Counts:
    """Return the expected counts of the whole scan from a Gaussian filter, reflected at the border.

    Args:
        counts: Recorded counts, ``(V, H, W)``.
        fraction: Fraction of the counts of a whole scan.
        sigma: Standard deviation of the Gaussian, in pixels.
    """
    return gaussian_filter(counts.astype(np.float64), (0, sigma, sigma), mode="reflect") / fraction


def non_local_means(counts: Counts, fraction: float, strength: float) -> Counts:
    """Return the expected counts of the whole scan from non-local means; the total counts of each view are preserved.

    The filter works on variance-stabilised counts. The inverse transform is unbiased.

    Args:
        counts: Recorded counts, ``(V, H, W)``.
        fraction: Fraction of the counts of a whole scan.
        strength: Strength of the filter, in standard deviations of the noise.
    Source:
        Buades et al. 2005; with Anscombe's transform as in Mäkitalo & Foi 2011.
    """
    noise = 1 / (SCALE * fraction**0.5)
    stable = stabilise(torch.from_numpy(counts.astype(np.float64)), fraction).numpy()
    smooth = [denoise_nl_means(view, PATCH, REACH, h=strength * noise, sigma=noise, fast_mode=True) for view in stable]
    mean = expected_counts(torch.from_numpy(np.stack(smooth))).numpy()
    totals = mean.sum((1, 2), keepdims=True)
    return mean * counts.sum((1, 2), keepdims=True) / fraction / np.maximum(totals, 1e-12)


def best_strength(
    smoother: Smoother, scans: Iterable[tuple[Counts, Counts]], fraction: float, strengths: Sequence[float]
) -> float:
    """Return the strength whose results predict complementary counts best, by Poisson deviance.

    Args:
        smoother: `gaussian` or `non_local_means`.
        scans: Pairs of rapid and complementary counts, ``(V, H, W)`` each, of scans outside the evaluation.
        fraction: Fraction of the counts of a whole scan in the rapid counts.
        strengths: Candidates.
    """
    pairs = list(scans)

    def cost(strength: float) -> float:
        return float(
            np.mean([deviance((1 - fraction) * smoother(rapid, fraction, strength), rest) for rapid, rest in pairs])
        )

    return min(strengths, key=cost)
