"""Semantic consistency: how alike regions are to each other should be the same in both stages."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_AREA = 1e-3
"""Sum of a mask, in places, below which it is empty and says nothing."""


def semantic_consistency_loss(first: Tensor, second: Tensor, masks: Tensor) -> Tensor:
    """Return ``mean |R(phi1) - sg R(phi2)|``, ``R_ij`` the cosine of the prototypes of regions i and j.

    A prototype is the mean of the features under a mask, ``sum M phi / sum M``. Pairs of two regions that are both
    there count; an image with fewer than two adds nothing.

    Args:
        first: phi(I1), ``(B, C, h, w)``.
        second: phi(I2), the same; no gradient reaches it.
        masks: ``(B, K, H, W)``, in [0, 1], on a grid as fine or finer.
    Returns:
        A scalar, 0 where no image has two regions.
    Source:
        arXiv:2503.02321, SCM (a reconstruction).
    """
    masks = F.adaptive_avg_pool2d(masks.detach().to(first.dtype), (first.shape[2], first.shape[3]))
    there = masks.sum((2, 3)) > LEAST_AREA
    pairs = there[:, :, None] & there[:, None, :]
    pairs = pairs & ~torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    apart = (relations(first, masks) - relations(second.detach(), masks)).abs()
    # Multiplied and not picked: an empty mask's prototype is 0, and so is its gradient.
    return (apart * pairs).sum() / pairs.sum().clamp_min(1)


def relations(features: Tensor, masks: Tensor) -> Tensor:
    """Return the cosines ``(B, K, K)`` of the prototypes of ``features (B, C, h, w)`` under ``masks (B, K, h, w)``."""
    area = masks.sum((2, 3)).clamp_min(LEAST_AREA)
    prototypes = torch.einsum("bkhw,bchw->bkc", masks, features) / area[..., None]
    prototypes = F.normalize(prototypes, dim=2)
    return prototypes @ prototypes.transpose(1, 2)
