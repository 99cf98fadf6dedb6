"""Contrastive loss: two views of one image position match, views of different positions do not."""

import torch
import torch.nn.functional as F


def contrast_loss(queries: torch.Tensor, keys: torch.Tensor, *, temperature: float = 0.2) -> torch.Tensor:
    """Return ``2 t CE(q k^T / t)``; the key of the same row is the positive, the keys of other rows are negatives.

    Args:
        queries: Query vectors of unit length, ``(B, D)``.
        keys: Key vectors of unit length, ``(B, D)``; they get no gradient.
        temperature: Temperature t, above 0.
    Returns:
        A scalar.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057, algorithm 1.
    """
    logits = queries @ keys.detach().T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
