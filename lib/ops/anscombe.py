"""Counts in units of their own noise and back: Poisson counts get one standard deviation, whatever their mean."""

import math

from torch import Tensor

SCALE = 16.0
"""Counts of 64 become about 1; networks see soft tissue near 0.3 and bone near 0.7."""
LEAST = math.sqrt(3 / 8)
SLOPE = 0.885
"""Counts per unit, before the scale, where `expected_counts` meets zero."""


def stabilise(counts: Tensor, fraction: float | Tensor = 1.0) -> Tensor:
    """Return ``2 sqrt(x / f + 1/8 + 1/(4 f)) / 16``: on the whole scan's level, its noise ``1 / (16 sqrt f)``.

    Anscombe's transform for the whole scan. His 3/8, scaled with the counts, would lie too high for a part of them:
    with this offset the mean is that of the whole scan but for terms of order ``1 / counts^1.5``, so what was taught by
    a part of the counts finds the way back. Below about one count a pixel it does not: half of 0.3 counts comes back as
    0.6, a quarter as 1.1.

    Args:
        counts: Counts ``(*)`` of a scan that recorded a fraction f of all.
        fraction: f, or one for each image where it broadcasts.
    Source:
        Anscombe 1948, Biometrika 35.
    """
    return 2 / SCALE * (counts.clamp_min(0) / fraction + 1 / 8 + 1 / 4 / fraction).sqrt()


def expected_counts(stable: Tensor, *, signed: bool = False) -> Tensor:
    """Return the mean counts whose stabilised values have the mean `stable`.

    Not the algebraic inverse, which lies a quarter of a count too low: a square root of a mean is more than the mean of
    square roots. The closed form comes within 0.05 counts from means of 0.1 upwards.

    Args:
        stable: ``(*)``, as a network estimates it for the whole scan (fraction 1).
        signed: Go on below zero in a straight line, where a gradient would otherwise end.
    Returns:
        The same shape, no value below 0 unless `signed`.
    Source:
        Mäkitalo & Foi 2011, IEEE TIP 20(9), "A closed-form approximation of the exact unbiased inverse".
    """
    d = (stable * SCALE).clamp_min(2 * LEAST)
    root = math.sqrt(3 / 2)
    counts = (d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8).clamp_min(0)
    return counts + SLOPE * (stable * SCALE - 2 * LEAST).clamp_max(0) if signed else counts
