"""Soft centreline Dice: the fraction of each skeleton that lies inside the other mask."""

import torch

from lib.ops.soft_skeleton import soft_skeleton


def soft_cldice_loss(
    prob: torch.Tensor,
    target: torch.Tensor,
    *,
    valid: torch.Tensor | None = None,
    iterations: int = 3,
    smooth: float = 1.0,
) -> torch.Tensor:
    """Return ``1 - 2 P R / (P + R)``, averaged over channels.

    ``P`` is the fraction of the predicted skeleton inside the target, ``R`` the fraction of the target's skeleton
    inside the prediction. Both are sums over the batch.

    Args:
        prob: Probabilities, ``(B, C, *S)``.
        target: Masks of zeros and ones, ``(B, C, *S)``.
        valid: Ones at voxels that count, ``(B, 1, *S)``; None counts all voxels.
        iterations: Least number of erosions of the soft skeleton; see `soft_skeleton`.
        smooth: Added to the numerators and denominators of ``P`` and ``R``.
    Returns:
        A scalar.
    Raises:
        ValueError: If the shapes of ``prob`` and ``target`` differ.
    Source:
        Shit et al. 2021, arXiv:2003.07311, eq. 3.
    """
    if prob.shape != target.shape:
        raise ValueError(f"prob {tuple(prob.shape)} and target {tuple(target.shape)} differ in shape")
    target = target.to(prob.dtype)
    if valid is not None:
        prob, target = prob * valid, target * valid
    axes = (0, *range(2, prob.ndim))
    skeleton = soft_skeleton(prob, iterations)
    reference = soft_skeleton(target, iterations)
    precision = ((skeleton * target).sum(axes) + smooth) / (skeleton.sum(axes) + smooth)
    recall = ((reference * prob).sum(axes) + smooth) / (reference.sum(axes) + smooth)
    return (1 - 2 * precision * recall / (precision + recall)).mean()
