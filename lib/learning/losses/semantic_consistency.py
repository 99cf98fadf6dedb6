"""Semantic consistency: the similarities between regions should be equal in both stages of a cascade."""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_AREA = 1e-3
"""A mask whose sum, in grid positions, is not above this value counts as empty."""


def semantic_consistency_loss(first: Tensor, second: Tensor, masks: Tensor) -> Tensor:
    """Return ``mean |R(phi1) - sg R(phi2)|``, where ``R_ij`` is the cosine of the prototypes of regions i and j.

    A prototype is the mean of the features under a mask, ``sum M phi / sum M``. The mean is over pairs of non-empty
    regions; an image with fewer than two regions contributes nothing.

    Args:
        first: Features phi(I1) of the first stage, ``(B, C, h, w)``.
        second: Features phi(I2) of the second stage, ``(B, C, h, w)``; they get no gradient.
        masks: Region masks in [0, 1], ``(B, K, H, W)``, on the grid of the features or a finer one.
    Returns:
        A scalar; 0 if no image has two regions.
    Source:
        arXiv:2503.02321, SCM (a reconstruction).
    """
    masks = F.adaptive_avg_pool2d(masks.detach().to(first.dtype), (first.shape[2], first.shape[3]))
    present = masks.sum((2, 3)) > MIN_AREA
    pairs = present[:, :, None] & present[:, None, :]
    pairs = pairs & ~torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    difference = (relations(first, masks) - relations(second.detach(), masks)).abs()
    # Multiply by `pairs` instead of indexing: the prototype of an empty mask is 0, and so is its gradient.
    return (difference * pairs).sum() / pairs.sum().clamp_min(1)


def relations(features: Tensor, masks: Tensor) -> Tensor:
    """Return the cosines ``(B, K, K)`` of the prototypes of ``features (B, C, h, w)`` under ``masks (B, K, h, w)``."""
    area = masks.sum((2, 3)).clamp_min(MIN_AREA)
    prototypes = torch.einsum("bkhw,bchw->bkc", masks, features) / area[..., None]
    prototypes = F.normalize(prototypes, dim=2)
    return prototypes @ prototypes.transpose(1, 2)
