"""Paths through an image, by name: the orders in which a scan can visit its positions."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.ops.cross_scan import cross_scan


def axis_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the flat positions along every axis in turn, ``(d, L)``: the forward half of `cross_scan`."""
    positions = torch.arange(torch.Size(shape).numel()).view(1, 1, *shape)
    return cross_scan(positions)[0, : len(shape), 0]


def diagonal_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the flat positions diagonal by diagonal, ``(d, L)``: from the first corner, then with one axis reversed.

    In 2-D these are the diagonals and the antidiagonals. In 3-D these are the planes perpendicular to three of the four
    space diagonals.
    """
    positions = _coordinates(shape)
    flipped = [positions, *(positions.clone() for _ in shape[1:])]
    for axis, coordinates in enumerate(flipped[1:], start=1):
        coordinates[axis] = shape[axis] - 1 - coordinates[axis]
    return torch.stack([coordinates.sum(0).argsort(stable=True) for coordinates in flipped])


def hilbert_paths(shape: tuple[int, ...]) -> Tensor:
    """Return the flat positions along a Hilbert curve, and along the curve with permuted axes, ``(d, L)``.

    Every step leads to a neighbour if the image is a square or a cube whose side is a power of two. For other shapes
    the path follows the curve of the next larger such square or cube and skips the positions outside the image.

    Source:
        Skilling 2004, Programming the Hilbert curve, AIP Conference Proceedings 707.
    """
    positions = _coordinates(shape)
    return torch.stack([_hilbert_distance(positions.roll(axis, 0)).argsort() for axis in range(len(shape))])


PATHS: dict[str, Callable[[tuple[int, ...]], Tensor]] = {
    "axes": axis_paths,
    "diagonals": diagonal_paths,
    "hilbert": hilbert_paths,
}


def _coordinates(shape: tuple[int, ...]) -> Tensor:
    """Return the coordinates of every position, ``(d, L)``."""
    return torch.stack(torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")).flatten(1)


def _hilbert_distance(positions: Tensor) -> Tensor:
    """Return the distance along the Hilbert curve, ``(L,)``, of positions ``(d, L)``."""
    bits = max(int(positions.max()).bit_length(), 1)
    x = list(positions.unbind())
    for bit in reversed(range(1, bits)):
        low = (1 << bit) - 1
        for axis in range(len(x)):
            swapped = torch.where(x[axis] >> bit & 1 == 1, 0, (x[0] ^ x[axis]) & low)
            x[0] = torch.where(x[axis] >> bit & 1 == 1, x[0] ^ low, x[0] ^ swapped)
            if axis:
                x[axis] = x[axis] ^ swapped
    return _decode_gray(x, bits)


def _decode_gray(x: list[Tensor], bits: int) -> Tensor:
    """Decode the Gray code whose bits are taken from the axes of `x` in turn."""
    distance = torch.zeros_like(x[0])
    for bit in reversed(range(bits)):
        for axis in x:
            distance = distance << 1 | (distance ^ axis >> bit) & 1
    return distance
