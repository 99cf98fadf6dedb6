"""Marginal probabilities: classes that a label does not cover count as background."""

import torch


def merge_uncovered(log_prob: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Return log probabilities in which the background of a sample includes the classes that its label does not cover.

    In such a label, a voxel of value 0 is background or of any class that was not drawn, so its probability is the sum.

    Args:
        log_prob: Log probabilities, ``(B, K, *S)``; class 0 is background.
        covered: Whether the label of a sample covers a class, bool ``(B, K)``.
    Returns:
        ``(B, K, *S)``; the channels of classes that are not covered stay as they are.
    Source:
        Shi et al. 2021, arXiv:2007.03868, marginal loss.
    """
    merged = ~covered
    merged[:, 0] = True
    background = log_prob.masked_fill(~over_grid(merged, log_prob), -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([background, log_prob[:, 1:]], 1)


def over_grid(covered: torch.Tensor, prob: torch.Tensor) -> torch.Tensor:
    """Return ``(B, K)`` with one axis of size 1 for each spatial axis of ``prob (B, K, *S)``."""
    return covered.view(*covered.shape, *[1] * (prob.ndim - 2))
