"""Stabilise the variance of Poisson counts (Anscombe), and return to expected counts by the unbiased inverse."""

import math

from torch import Tensor

SCALE = 16.0
"""With this divisor 64 counts become about 1; soft tissue is near 0.3 and bone near 0.7."""
ROOT_AT_ZERO = math.sqrt(3 / 8)
"""Square root in Anscombe's transform of zero counts."""
SLOPE_AT_ZERO = 0.885
"""Derivative of the expected counts, by the stabilised value before division by `SCALE`, where the counts are 0."""


def stabilise(counts: Tensor, fraction: float | Tensor = 1.0) -> Tensor:
    """Return ``2 sqrt(x / f + 1/8 + 1/(4 f)) / 16``, on the scale of the whole scan and with SD ``1 / (16 sqrt f)``.

    For f = 1 this is Anscombe's transform. For f < 1 Anscombe's offset 3/8, divided by f, would give too high a mean.
    With this offset the mean equals the mean of the whole scan up to terms of order ``1 / counts^1.5``, so the inverse
    of a network that learned from rapid scans stays nearly unbiased. The approximation fails below about one count per
    pixel: for a mean of 0.3 counts, f = 1/2 returns 0.6 and f = 1/4 returns 1.1.

    Args:
        counts: Counts ``(*)`` of a scan that recorded the fraction f of the counts of the whole scan.
        fraction: f, in (0, 1]; a tensor that broadcasts to `counts` gives a fraction per image.
    Returns:
        The stabilised values, ``(*)``.
    Source:
        Anscombe 1948, Biometrika 35.
    """
    return 2 / SCALE * (counts.clamp_min(0) / fraction + 1 / 8 + 1 / 4 / fraction).sqrt()


def expected_counts(stable: Tensor, *, signed: bool = False) -> Tensor:
    """Return the mean counts whose stabilised values have the mean `stable`.

    The algebraic inverse would be a quarter of a count too low, because the mean of square roots is less than the
    square root of the mean. The error of this closed form is below 0.05 counts for means of at least 0.1.

    Args:
        stable: Stabilised values ``(*)`` of the whole scan (fraction 1), for example the output of a network.
        signed: Whether to continue linearly below 0, so that the gradient does not vanish there.
    Returns:
        Expected counts ``(*)``; no value is below 0 unless `signed`.
    Source:
        Mäkitalo & Foi 2011, IEEE TIP 20(9), "A closed-form approximation of the exact unbiased inverse".
    """
    d = (stable * SCALE).clamp_min(2 * ROOT_AT_ZERO)
    root = math.sqrt(3 / 2)
    counts = (d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8).clamp_min(0)
    return counts + SLOPE_AT_ZERO * (stable * SCALE - 2 * ROOT_AT_ZERO).clamp_max(0) if signed else counts
