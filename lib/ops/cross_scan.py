"""Cross-scan: turn an image into sequences along every axis, forwards and backwards, and merge them again."""

from collections.abc import Sequence
from functools import reduce
from math import prod

import torch
from torch import Tensor


def cross_scan(x: Tensor) -> Tensor:
    """Return the sequences of `x`: one per axis order, followed by the same sequences reversed.

    In 2-D these are rows, columns, reversed rows and reversed columns. In 3-D these are the three cyclic axis orders
    and their reverses.

    Args:
        x: Image, ``(B, C, *S)`` with two or three spatial axes.
    Returns:
        ``(B, K, C, L)`` with K = 2 len(S) and L the product of S.
    Raises:
        ValueError: If `x` is neither 2-D nor 3-D.
    Source:
        Liu et al. 2024, arXiv:2401.10166 (SS2D); the extension to a third axis is this project's.
    """
    dims = _spatial_dims(x.ndim - 2)
    forward = torch.stack([x.permute(0, 1, *(2 + axis for axis in order)).flatten(2) for order in _orders(dims)], 1)
    return torch.cat((forward, forward.flip(-1)), 1)


def cross_merge(y: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the sum of the K sequences, with every token at its pixel or voxel again: the adjoint of `cross_scan`.

    Args:
        y: Sequences, ``(B, K, C, L)``, in the order of `cross_scan`.
        shape: Spatial shape S of the image.
    Returns:
        ``(B, C, *S)``; ``cross_merge(cross_scan(x), S)`` is K times `x`.
    Raises:
        ValueError: If K or L does not fit `shape`.
    """
    dims = _spatial_dims(len(shape))
    if y.shape[1] != 2 * dims or y.shape[-1] != prod(shape):
        raise ValueError(f"sequences {tuple(y.shape)} do not fit an image of shape {tuple(shape)}")
    forward = y[:, :dims] + y[:, dims:].flip(-1)
    images = []
    for sequence, order in zip(forward.unbind(1), _orders(dims), strict=True):
        image = sequence.unflatten(-1, [shape[axis] for axis in order])
        images.append(image.permute(0, 1, *(2 + order.index(axis) for axis in range(dims))))
    return reduce(torch.add, images)


def _orders(dims: int) -> list[tuple[int, ...]]:
    """Return the cyclic orders of the axes, so that every axis varies fastest in one of them."""
    return [tuple((first + step) % dims for step in range(dims)) for first in range(dims)]


def _spatial_dims(dims: int) -> int:
    if dims not in (2, 3):
        raise ValueError(f"cross-scan takes two or three spatial axes, not {dims}")
    return dims
