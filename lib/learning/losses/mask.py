"""Mask loss: cross entropy and soft Dice, computed separately for every mask."""

import torch
import torch.nn.functional as F


def mask_loss(
    logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, *, dice_weight: float = 0.8
) -> torch.Tensor:
    """Return ``(1 - w) CE + w (1 - Dice)``, the mean over masks.

    Dice is computed per mask, because over a batch a large object would outweigh small ones, which need most clicks.

    Args:
        logits: Mask logits, ``(P, H, W)``.
        target: Target masks, bool ``(P, H, W)``.
        valid: Pixels where the target is known, bool ``(P, H, W)``.
        dice_weight: Weight w of Dice, in [0, 1].
    Returns:
        A scalar.
    Source:
        Zhang & Liu 2023, SAMed, arXiv:2304.13785.
    """
    logits, wanted, known = logits.float().flatten(1), target.float().flatten(1), valid.float().flatten(1)
    pixels = known.sum(1).clamp_min(1)
    entropy = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * known).sum(1) / pixels
    prob, wanted = logits.sigmoid() * known, wanted * known
    overlap = (2 * (prob * wanted).sum(1) + 1) / (prob.sum(1) + wanted.sum(1) + 1)
    return ((1 - dice_weight) * entropy + dice_weight * (1 - overlap)).mean()
