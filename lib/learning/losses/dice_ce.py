"""Soft Dice and cross entropy over integer labels; ignored voxels count in neither term."""

import torch
import torch.nn.functional as F

from lib.data.pipeline import IGNORE
from lib.learning.losses.marginal import merge_uncovered, over_grid


def dice_ce_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    covered: torch.Tensor | None = None,
    *,
    ignore_index: int = IGNORE,
    include_background: bool = False,
    smooth: float = 1e-5,
) -> torch.Tensor:
    """Return soft Dice loss plus cross entropy, each averaged over the voxels that are not ignored.

    Dice sums over the whole batch, because a single patch often lacks a class, and averages over classes. If all voxels
    of a batch are ignored, the loss is a constant without gradient.

    Args:
        logits: Logits, ``(B, K, *S)``; the loss is computed in float32 whatever the dtype.
        target: Labels, ``(B, *S)``, integers in ``[0, K)`` or ``ignore_index``.
        covered: Whether the label of a sample covers a class, bool ``(B, K)``; None if all labels cover all classes.
            Classes that are not covered count as background in the cross entropy (see `merge_uncovered`), and the Dice
            of a class is that of the samples that cover it. A class that no sample covers has no Dice term.
        ignore_index: Label of voxels without a known class.
        include_background: Whether class 0 has a Dice term.
        smooth: Added to numerator and denominator of the Dice ratio.
    Returns:
        A scalar, float32.
    Raises:
        ValueError: If the grids differ, or a label is neither a class nor ``ignore_index``.
    Source:
        Milletari et al. 2016, arXiv:1606.04797; MONAI ``DiceCELoss(softmax=True, batch=True)``.
    """
    if target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"labels {tuple(target.shape)} are not on the grid of the logits {tuple(logits.shape)}")
    valid = target != ignore_index
    classes = torch.where(valid, target, 0).long()
    if bool((classes >= logits.shape[1]).any()) or bool((classes < 0).any()):
        raise ValueError(f"labels must lie in [0, {logits.shape[1]}) or be {ignore_index}, got {target.unique()}")
    log_prob, counted = F.log_softmax(logits.float(), dim=1), valid[:, None]
    if covered is not None:
        log_prob, counted = merge_uncovered(log_prob, covered), counted & over_grid(covered, logits)
    cross_entropy = F.nll_loss(log_prob, classes, reduction="none")
    cross_entropy = (cross_entropy * valid).sum() / valid.sum().clamp(min=1)

    prob = log_prob.exp() * counted
    hot = F.one_hot(classes, logits.shape[1]).movedim(-1, 1) * counted
    axes = (0, *range(2, logits.ndim))
    overlap = (prob * hot).sum(axes)
    size = prob.sum(axes) + hot.sum(axes)
    dice = (2 * overlap + smooth) / (size + smooth)
    first = 0 if include_background else 1
    terms = 1 - dice[first:]
    if covered is None:
        return terms.mean() + cross_entropy
    known = covered.any(0)[first:]
    return (terms * known).sum() / known.sum().clamp(min=1) + cross_entropy
