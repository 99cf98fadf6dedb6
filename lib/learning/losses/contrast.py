"""Two views of one place are alike, those of two places are not."""

import torch
import torch.nn.functional as F


def contrast_loss(queries: torch.Tensor, keys: torch.Tensor, *, temperature: float = 0.2) -> torch.Tensor:
    """Return ``2 t CE(q k^T / t)``: the key of the same row against those of all other rows.

    Args:
        queries: ``(B, D)``, of length 1.
        keys: ``(B, D)``, of length 1; they get no gradient.
        temperature: t.
    Returns:
        A scalar.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057, algorithm 1.
    """
    logits = queries @ keys.detach().T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
