"""Soft skeleton: differentiable thinning of a probability map."""

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_skeleton(prob: Tensor, iterations: int = 3) -> Tensor:
    """Return the soft skeleton of `prob`: the parts that an opening removes, collected over repeated erosions.

    The erosions go on until no sample above one half is left or none disappears: after fewer, a structure that is still
    there has no skeleton. The outside of the array counts as its border samples, so a structure that fills the array
    has none.

    Args:
        prob: Probabilities, ``(B, C, *S)``, with two or three spatial axes.
        iterations: Least number of erosions, for structures whose probability is below one half.
    Returns:
        ``(B, C, *S)`` in [0, 1].
    Raises:
        ValueError: If `prob` has not two or three spatial axes.
    Source:
        Shit et al. 2021, arXiv:2003.07311, algorithm 1.
    """
    if prob.ndim not in (4, 5):
        raise ValueError(f"soft_skeleton needs two or three spatial axes, got shape {tuple(prob.shape)}")
    skeleton, inside, done = F.relu(prob - _open(prob)), _count_inside(prob), 0
    before = inside + 1
    while done < iterations or 0 < inside < before:
        prob, before, done = _erode(prob), inside, done + 1
        rest, inside = F.relu(prob - _open(prob)), _count_inside(prob)
        skeleton = skeleton + F.relu(rest - skeleton * rest)
    return skeleton


def _count_inside(prob: Tensor) -> int:
    return int(torch.count_nonzero(prob > 0.5))


def _erode(x: Tensor) -> Tensor:
    """Return the minimum over the face neighbours."""
    dims = x.ndim - 2
    axes = [[3 if axis == other else 1 for other in range(dims)] for axis in range(dims)]
    return torch.stack([-_max_pool(-x, kernel) for kernel in axes]).amin(0)


def _dilate(x: Tensor) -> Tensor:
    """Return the maximum over all neighbours."""
    return _max_pool(x, [3] * (x.ndim - 2))


def _open(x: Tensor) -> Tensor:
    return _dilate(_erode(x))


def _max_pool(x: Tensor, kernel: list[int]) -> Tensor:
    pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
    return pool(x, kernel, stride=1, padding=[size // 2 for size in kernel])
