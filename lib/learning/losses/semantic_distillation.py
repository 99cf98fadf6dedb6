"""Semantic knowledge distillation: the first stage of a cascade learns image and features of the second stage."""

import torch
from torch import Tensor


def semantic_distillation_loss(first: Tensor, second: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return ``|I1 - sg I2| + sum_l |phi_l(I1) - sg phi_l(I2)|``, where each norm is a mean over its values.

    Args:
        first: Image I1 of the first stage, ``(B, C, H, W)``.
        second: Image I2 of the second stage, ``(B, C, H, W)``; it gets no gradient.
        pairs: Features ``(phi_l(I1), phi_l(I2))`` of every level; the second of a pair gets no gradient.
    Returns:
        A scalar.
    Source:
        arXiv:2503.02321, SKD (a reconstruction: the features and their weights are not published).
    """
    terms = [(one - other.detach()).abs().mean() for one, other in [(first, second), *pairs]]
    return torch.stack(terms).sum()
