"""Shapes whose skeleton vanished in one implementation or another: straight and oblique tubes, balls, boxes, bars."""

from collections.abc import Iterator

import numpy as np

Mask = np.ndarray


def tube(width: int, height: int, axis: int, length: int = 26) -> Mask:
    """Return a straight tube along an axis, two voxels away from the faces of the array."""
    mask = np.zeros((width + 4, height + 4, length + 4), bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return np.moveaxis(mask, 2, axis)


def oblique_tube(radius: float, direction: tuple[int, int, int], half_length: float = 11) -> Mask:
    """Return a tube along a direction through the middle of the array."""
    places = np.indices((27, 27, 27)) - 13
    along = np.tensordot(np.array(direction) / np.linalg.norm(direction), places, 1)
    across = np.sqrt(np.maximum((places**2).sum(0) - along**2, 0))
    return (across <= radius) & (np.abs(along) <= half_length)


def ball(radius: int) -> Mask:
    return (((np.indices((2 * radius + 5,) * 3) - radius - 2) ** 2).sum(0)) <= radius**2


def box(*sides: int) -> Mask:
    return np.pad(np.ones(sides, bool), 2)


def straight_tubes() -> Iterator[tuple[str, Mask]]:
    for width in range(1, 13):
        for height in (width, width + 1):
            for axis in range(3):
                yield f"tube {width} x {height} along {axis}", tube(width, height, axis)


def other_shapes() -> Iterator[tuple[str, Mask]]:
    for radius in (0.6, 1.0, 1.5, 2.0, 3.0, 4.5):
        for direction in ((1, 1, 0), (1, 1, 1), (3, 2, 1)):
            yield f"oblique tube {radius} {direction}", oblique_tube(radius, direction)
    for radius in (1, 2, 3, 5, 8):
        yield f"ball {radius}", ball(radius)
    for sides in ((2, 2, 2), (4, 4, 4), (6, 4, 2), (12, 12, 6), (1, 2, 9)):
        yield f"box {sides}", box(*sides)


def bars() -> Iterator[tuple[str, Mask]]:
    for width in range(1, 13):
        yield f"bar {width}", box(width, 30)
        rows, columns = np.indices((48, 48)) - 24
        yield f"oblique bar {width}", (np.abs(3 * rows - 2 * columns) <= width * 1.8) & (np.hypot(rows, columns) < 18)


SHAPES = dict([*straight_tubes(), *other_shapes(), *bars()])
FEW = [name for name in SHAPES if "tube" not in name or "along 0" in name or name.endswith("(3, 2, 1)")]
"""Names of shapes that stand for all, for what takes long."""
