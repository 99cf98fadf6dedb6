"""A square window on a slice, wherever it lies and however fine the slice is: cut out, and put back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_MM, LADDER = 32.0, math.sqrt(2.0)
SNAP = 8
"""A frame's middle lies on a grid of an eighth of its side."""

Box = tuple[float, float, float, float]
"""First row and column, last row and column, in mm from the middle of the slice's first pixel."""


@dataclass(frozen=True)
class Frame:
    """A window.

    Args:
        row_mm: Its middle, in mm from the middle of the slice's first pixel.
        column_mm: The same along the rows.
        side_mm: Its side.
    """

    row_mm: float
    column_mm: float
    side_mm: float

    @classmethod
    def around(cls, box: Box, margin: float = 1.0, least_mm: float = SMALLEST_MM) -> Frame:
        """Return a frame that holds a box, one of few: small changes of the box seldom change it.

        Sides are steps of a ladder and middles places of a grid.

        Args:
            box: What to hold.
            margin: How many times the box's longer side to show at least.
            least_mm: The smallest side.
        """
        top, left, bottom, right = box
        extent = max(bottom - top, right - left)
        wanted = max(extent * margin, least_mm)
        steps = max(0, math.ceil(math.log(wanted / SMALLEST_MM, LADDER) - 1e-9))
        while True:
            side = SMALLEST_MM * LADDER**steps
            grid = side / SNAP
            row, column = (round((low + high) / 2 / grid) * grid for low, high in ((top, bottom), (left, right)))
            frame = cls(row, column, side)
            if frame.holds(box):
                return frame
            steps += 1

    @property
    def box(self) -> Box:
        """Its own borders."""
        half = self.side_mm / 2
        return self.row_mm - half, self.column_mm - half, self.row_mm + half, self.column_mm + half

    def holds(self, box: Box) -> bool:
        """Say whether a box lies within."""
        mine = self.box
        return mine[0] <= box[0] and mine[1] <= box[1] and mine[2] >= box[2] and mine[3] >= box[3]

    def cut(self, image: Tensor, spacing_mm: Sequence[float], samples: int) -> Tensor:
        """Return the window, interpolated linearly, averaged where samples are coarser than pixels.

        Args:
            image: ``(H, W)``, float.
            spacing_mm: Of its rows and columns.
            samples: Along each side of the window.
        Returns:
            ``(samples, samples)``; the border is repeated outside the image.
        """
        across = zip(image.shape, spacing_mm, self._first(samples), strict=True)
        rows, columns = (_weights(size, self._positions(samples, first) / mm) for size, mm, first in across)
        return rows @ image @ columns.T

    def samples(self, points: Tensor, spacing_mm: Sequence[float], samples: int) -> Tensor:
        """Return pixel indices ``(*, 2)`` of an image as indices of the window's samples, not rounded."""
        first = torch.tensor(self._first(samples), dtype=torch.float64)
        return (points.double() * torch.tensor(list(spacing_mm), dtype=torch.float64) - first) * samples / self.side_mm

    def restore(self, window: Tensor, shape: Sequence[int], spacing_mm: Sequence[float], outside: float) -> Tensor:
        """Return a window's values, interpolated linearly, at the pixels of an image.

        Args:
            window: ``(n, n)``, float, whatever its n.
            shape: The image's, ``(H, W)``.
            spacing_mm: Of its rows and columns.
            outside: The value where the window does not reach.
        Returns:
            ``(H, W)``.
        """
        image = torch.full(tuple(shape), outside, dtype=window.dtype)
        sides = [
            slice(_first_inside(low, mm), _last_inside(high, mm, size) + 1)
            for low, high, mm, size in (
                (self.box[0], self.box[2], spacing_mm[0], shape[0]),
                (self.box[1], self.box[3], spacing_mm[1], shape[1]),
            )
        ]
        if any(side.stop <= side.start for side in sides):
            return image
        axes = []
        for side, mm, first in zip(sides, spacing_mm, self._first(len(window)), strict=True):
            places_mm = torch.arange(side.start, side.stop, dtype=torch.float64) * mm
            axes.append(_weights(len(window), (places_mm - first) * len(window) / self.side_mm, widen=False))
        image[sides[0], sides[1]] = axes[0] @ window @ axes[1].T
        return image

    def _first(self, samples: int) -> tuple[float, float]:
        """Return where the middle of the first sample lies, in mm."""
        inset = self.side_mm / samples / 2
        return self.box[0] + inset, self.box[1] + inset

    def _positions(self, samples: int, first_mm: float) -> Tensor:
        return first_mm + torch.arange(samples, dtype=torch.float64) * (self.side_mm / samples)


def _first_inside(low_mm: float, spacing_mm: float) -> int:
    return max(0, math.ceil(low_mm / spacing_mm))


def _last_inside(high_mm: float, spacing_mm: float, size: int) -> int:
    return min(size - 1, math.floor(high_mm / spacing_mm))


def _weights(size: int, positions: Tensor, widen: bool = True) -> Tensor:
    """Return the interpolation ``(n, size)`` at positions ``(n,)``; those outside take the border."""
    step = float(positions[1] - positions[0]) if len(positions) > 1 else 1.0
    reach = max(step, 1.0) if widen else 1.0
    distance = (positions.clamp(0, size - 1)[:, None] - torch.arange(size, dtype=torch.float64)).abs()
    weights = (1 - distance / reach).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float()
