"""Paths through an image, by name: the orders in which its scans may read it."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.ops.cross_scan import cross_scan


def axis_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the places along every axis in turn, the forward half of `cross_scan`, ``(d, L)``."""
    places = torch.arange(torch.Size(shape).numel()).view(1, 1, *shape)
    return cross_scan(places)[0, : len(shape), 0]


def diagonal_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the places diagonal after diagonal, ``(d, L)``: from the first corner, then with one axis turned round.

    In 2-D diagonals and antidiagonals, in 3-D the planes across three of the four long diagonals.
    """
    places = _coordinates(shape)
    turned = [places, *(places.clone() for _ in shape[1:])]
    for axis, each in enumerate(turned[1:], start=1):
        each[axis] = shape[axis] - 1 - each[axis]
    return torch.stack([each.sum(0).argsort(stable=True) for each in turned])


def hilbert_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the places along a Hilbert curve, and along the same with its axes moved round, ``(d, L)``.

    A step goes to a neighbour where the shape is a square or a cube of a power of two; elsewhere the curve of the next
    larger one is followed, and what lies outside the image is skipped.

    Source:
        Skilling 2004, Programming the Hilbert curve, AIP Conference Proceedings 707.
    """
    places = _coordinates(shape)
    return torch.stack([_along_hilbert(places.roll(axis, 0)).argsort() for axis in range(len(shape))])


PATHS: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "axes": axis_paths,
    "diagonals": diagonal_paths,
    "hilbert": hilbert_paths,
}


def _coordinates(shape: tuple[int, ...]) -> Tensor:
    return torch.stack(torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")).flatten(1)


def _along_hilbert(places: Tensor) -> Tensor:
    """Return how far along the curve each place ``(d, L)`` lies."""
    bits = max(int(places.max()).bit_length(), 1)
    x = list(places.unbind())
    for bit in reversed(range(1, bits)):
        low = (1 << bit) - 1
        for axis in range(len(x)):
            swapped = torch.where(x[axis] >> bit & 1 == 1, 0, (x[0] ^ x[axis]) & low)
            x[0] = torch.where(x[axis] >> bit & 1 == 1, x[0] ^ low, x[0] ^ swapped)
            if axis:
                x[axis] = x[axis] ^ swapped
    return _gray(x, bits)


def _gray(x: list[Tensor], bits: int) -> Tensor:
    """Return the numbers whose Gray code lies in the bits of `x`, taken in turn from every axis."""
    distance = torch.zeros_like(x[0])
    for bit in reversed(range(bits)):
        for axis in x:
            distance = distance << 1 | (distance ^ axis >> bit) & 1
    return distance
