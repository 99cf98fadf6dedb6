"""Semantic knowledge distillation: the first stage is drawn towards the second, in values and in features."""

import torch
from torch import Tensor


def semantic_distillation_loss(first: Tensor, second: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return ``|I1 - sg I2| + sum_l |phi_l(I1) - sg phi_l(I2)|``, each a mean over its values.

    Args:
        first: I1, ``(B, C, H, W)``.
        second: I2, the same; no gradient reaches it.
        pairs: ``(phi_l(I1), phi_l(I2))`` of every level; no gradient reaches the second of a pair.
    Returns:
        A scalar.
    Source:
        arXiv:2503.02321, SKD (a reconstruction: which features, and how they are weighed, is not published).
    """
    terms = [(one - other.detach()).abs().mean() for one, other in [(first, second), *pairs]]
    return torch.stack(terms).sum()
