"""Softplus by a polynomial, because the softplus of torch takes longer than the rest of a scan on a CPU."""

from math import e, log2

import torch
from torch import Tensor
from torch.nn import functional as F

_POWERS = (13, 11, 9, 7, 5, 3, 1)


def softplus(x: Tensor) -> Tensor:
    """Return ``log(1 + exp(x))``; the function does not support autograd.

    With ``t = exp(-|x|)`` and ``s = t / (2 + t) <= 1/3``: ``softplus(x) = max(x, 0) + 2 artanh(s)``, and eight terms of
    the series of artanh reach the precision of float32. Float64 values use the exact function of torch.

    Args:
        x: ``(*)``, float32 or float64; an array that fits into the cache is ten times as fast as a large one.
    Returns:
        ``(*)``, dtype of ``x``; the relative error is below 5e-6 for ``|x| <= 80``.
    """
    if x.dtype == torch.float64:
        return F.softplus(x)
    t = x.abs().mul_(-log2(e)).exp2_()
    s = t.div_(t + 2)
    square = s * s
    series = torch.full_like(x, 1 / 15)
    for power in _POWERS:
        series.mul_(square).add_(1 / power)
    return series.mul_(s).mul_(2).add_(x.clamp(min=0))
