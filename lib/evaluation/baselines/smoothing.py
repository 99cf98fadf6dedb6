"""What a restorer must beat: a Gaussian, and non-local means on counts whose noise was made even."""

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
"""Expected counts of the whole scan from counts ``(V, H, W)``, the fraction they are of it, and a strength."""
PATCH, REACH = 5, 6
"""Pixels of non-local means' patches, and how far it looks."""


def gaussian(counts: Counts, fraction: float, sigma: float) -> Counts:
    """Return counts blurred by a Gaussian of `sigma` pixels; at the border what would be lost is reflected."""
    return gaussian_filter(counts.astype(np.float64), (0, sigma, sigma), mode="reflect") / fraction


def non_local_means(counts: Counts, fraction: float, strength: float) -> Counts:
    """Return counts averaged over alike places, on stabilised counts and back without bias, the total kept.

    Args:
        counts: ``(V, H, W)``.
        fraction: Of the whole scan.
        strength: Of the filter, in standard deviations of the noise.
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
    """Return the strength whose answers lie nearest to counts that they have not seen.

    Args:
        smoother: `gaussian` or `non_local_means`.
        scans: Rapid counts and the complementary ones, of scans that nothing is judged on.
        fraction: Of the rapid ones.
        strengths: To choose from.
    """
    seen = list(scans)

    def cost(strength: float) -> float:
        return float(
            np.mean([deviance((1 - fraction) * smoother(rapid, fraction, strength), rest) for rapid, rest in seen])
        )

    return min(strengths, key=cost)
