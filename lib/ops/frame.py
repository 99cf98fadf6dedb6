"""Frames: square windows on a slice, defined in mm, with resampling from the slice and back to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_SIDE_MM, SIDE_RATIO = 32.0, math.sqrt(2.0)
GRID_STEPS = 8
"""The centre of a frame lies on a grid whose step is the side of the frame divided by this number."""

Box = tuple[float, float, float, float]
"""First row, first column, last row, last column, in mm from the centre of the first pixel of the slice."""


@dataclass(frozen=True)
class Frame:
    """A square window on a slice.

    Args:
        row_mm: Row coordinate of the centre, in mm from the centre of the first pixel of the slice.
        column_mm: Column coordinate of the centre, in mm from the same point.
        side_mm: Length of the side, in mm.
    """

    row_mm: float
    column_mm: float
    side_mm: float

    @classmethod
    def enclosing(cls, box: Box, margin: float = 1.0, min_side_mm: float = MIN_SIDE_MM) -> Frame:
        """Return a frame that contains a box.

        Sides are `MIN_SIDE_MM` times powers of `SIDE_RATIO`, and centres lie on a grid. A small change of the box
        therefore rarely changes the frame, and cached embeddings of the frame stay valid.

        Args:
            box: The box to contain, in mm.
            margin: Smallest ratio of the side of the frame to the longer side of the box.
            min_side_mm: Smallest side of the frame, in mm.
        """
        top, left, bottom, right = box
        extent = max(bottom - top, right - left)
        min_side = max(extent * margin, min_side_mm)
        steps = max(0, math.ceil(math.log(min_side / MIN_SIDE_MM, SIDE_RATIO) - 1e-9))
        while True:
            side = MIN_SIDE_MM * SIDE_RATIO**steps
            grid = side / GRID_STEPS
            row, column = (round((low + high) / 2 / grid) * grid for low, high in ((top, bottom), (left, right)))
            frame = cls(row, column, side)
            if frame.contains(box):
                return frame
            steps += 1

    @property
    def box(self) -> Box:
        """The borders of the frame, in mm."""
        half = self.side_mm / 2
        return self.row_mm - half, self.column_mm - half, self.row_mm + half, self.column_mm + half

    def contains(self, box: Box) -> bool:
        """Return whether a box, in mm, lies within the frame."""
        top, left, bottom, right = self.box
        return top <= box[0] and left <= box[1] and bottom >= box[2] and right >= box[3]

    def resample(self, image: Tensor, spacing_mm: Sequence[float], samples: int) -> Tensor:
        """Return the part of an image that the frame shows, by linear interpolation.

        Pixels are averaged where the samples are coarser than the pixels.

        Args:
            image: ``(*, H, W)``, float.
            spacing_mm: Spacing of the rows and of the columns of the image, in mm.
            samples: Samples along each side of the frame.
        Returns:
            ``(*, samples, samples)``; outside the image the values of its border are repeated.
        """
        axes = zip(image.shape[-2:], spacing_mm, self._first(samples), strict=True)
        rows, columns = (_weights(size, self._positions(samples, first) / mm) for size, mm, first in axes)
        return rows @ image @ columns.T

    def to_samples(self, points: Tensor, spacing_mm: Sequence[float], samples: int) -> Tensor:
        """Convert pixel indices of an image into sample indices of the frame, without rounding.

        Args:
            points: Row and column of every point in the image, ``(*, 2)``, in pixels.
            spacing_mm: Spacing of the rows and of the columns of the image, in mm.
            samples: Samples along each side of the frame.
        Returns:
            Row and column of every point in the frame, float64 ``(*, 2)``, in samples.
        """
        first = torch.tensor(self._first(samples), dtype=torch.float64)
        return (points.double() * torch.tensor(list(spacing_mm), dtype=torch.float64) - first) * samples / self.side_mm

    def paste(self, window: Tensor, shape: Sequence[int], spacing_mm: Sequence[float], outside: float) -> Tensor:
        """Return an image with the values of the frame at its pixels, by linear interpolation.

        Args:
            window: Values in the frame, ``(n, n)``, float, for any n.
            shape: Shape of the image, ``(H, W)``.
            spacing_mm: Spacing of the rows and of the columns of the image, in mm.
            outside: Value of the pixels outside the frame.
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
            positions_mm = torch.arange(side.start, side.stop, dtype=torch.float64) * mm
            axes.append(_weights(len(window), (positions_mm - first) * len(window) / self.side_mm, widen=False))
        image[sides[0], sides[1]] = axes[0] @ window @ axes[1].T
        return image

    def _first(self, samples: int) -> tuple[float, float]:
        """Return row and column of the centre of the first sample, in mm."""
        inset = self.side_mm / samples / 2
        return self.box[0] + inset, self.box[1] + inset

    def _positions(self, samples: int, first_mm: float) -> Tensor:
        """Return the centres of the samples along one axis, ``(samples,)``, in mm."""
        return first_mm + torch.arange(samples, dtype=torch.float64) * (self.side_mm / samples)


def _first_inside(low_mm: float, spacing_mm: float) -> int:
    return max(0, math.ceil(low_mm / spacing_mm))


def _last_inside(high_mm: float, spacing_mm: float, size: int) -> int:
    return min(size - 1, math.floor(high_mm / spacing_mm))


def _weights(size: int, positions: Tensor, widen: bool = True) -> Tensor:
    """Return the matrix ``(n, size)`` that interpolates an axis linearly at positions ``(n,)``.

    Args:
        size: Samples of the axis.
        positions: Positions in samples of the axis; a position outside the axis takes the value of the border.
        widen: Whether to average over the step between positions where that step exceeds one sample.
    """
    step = float(positions[1] - positions[0]) if len(positions) > 1 else 1.0
    reach = max(step, 1.0) if widen else 1.0
    distance = (positions.clamp(0, size - 1)[:, None] - torch.arange(size, dtype=torch.float64)).abs()
    weights = (1 - distance / reach).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float()
