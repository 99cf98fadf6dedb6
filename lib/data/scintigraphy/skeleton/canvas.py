"""Canvas: the activity of a body in slabs from back to front, and methods to paint shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float32]
Point = tuple[float, float, float]
"""Position in mm: towards the right of the picture, towards the front, and upwards from the soles."""

SLABS = 9
SLAB_MM = 30.0
MAX_BRIGHTENING = 5.0
"""Largest factor of brightness for a rod that points nearly along the line of sight."""


@dataclass(frozen=True)
class Canvas:
    """Activity and outline of a body.

    Attributes:
        x: Position of the columns ``(1, W)``, in mm.
        z: Height of the rows ``(H, 1)``, in mm; it decreases with the row.
        activity: Activity times mm along the line of sight ``(SLABS, H, W)``; slab 0 is at the back.
        front: Depth of the front skin ``(H, W)``, in mm; below `back` outside the body.
        back: Depth of the back skin ``(H, W)``, in mm.
        pixel_mm: Pixel spacing, in mm.
    """

    x: Field
    z: Field
    activity: Field
    front: Field
    back: Field
    pixel_mm: float

    @classmethod
    def blank(cls, shape: tuple[int, int], pixel_mm: float) -> Canvas:
        """Return an empty canvas with the midline of the body in the middle and the soles 60 mm above the edge."""
        height, width = shape
        x = ((np.arange(width) - (width - 1) / 2) * pixel_mm).astype(np.float32)[None]
        z = ((height - 0.5 - np.arange(height)) * pixel_mm - 60).astype(np.float32)[:, None]
        empty = np.full(shape, -1e3, np.float32)
        return cls(x, z, np.zeros((SLABS, *shape), np.float32), empty, -empty, pixel_mm)

    def row(self, z: float) -> float:
        """Return the row of a height, not rounded."""
        return (float(self.z[0, 0]) - z) / self.pixel_mm

    def column(self, x: float) -> float:
        """Return the column of a position, not rounded."""
        return (x - float(self.x[0, 0])) / self.pixel_mm

    def rods(self, points: Sequence[Point], radii_mm: Sequence[float], activity: float) -> None:
        """Add a bent rod with round cross-section along a line; its straight segments do not add up where they meet.

        Args:
            points: Points of the line.
            radii_mm: Radius at each point, in mm; it is interpolated between points.
            activity: Activity per volume.
        """
        reach = max(radii_mm)
        xs, _, zs = zip(*points, strict=True)
        box = self._box(min(xs) - reach, max(xs) + reach, min(zs) - reach, max(zs) + reach)
        amount, depth = np.zeros(self.front[box].shape, np.float32), np.zeros(self.front[box].shape, np.float32)
        for a, b, first, last in zip(points[:-1], points[1:], radii_mm[:-1], radii_mm[1:], strict=True):
            thickness, at = self._rod(box, a, b, first, last)
            seen = float(np.hypot(b[0] - a[0], b[2] - a[2]))
            steep = float(np.hypot(seen, b[1] - a[1])) / max(seen, 1e-3)
            part = thickness * np.float32(activity * min(steep, MAX_BRIGHTENING))
            depth = np.where(part > amount, at, depth)
            amount = np.maximum(part, amount)
        self._add(box, amount, depth)

    def ball(self, centre: Point, radii_mm: Point, activity: float, *, wall_mm: float = 0.0) -> None:
        """Add an ellipsoid, or only its shell if `wall_mm` is above 0."""
        box, half, depth = self._ball(centre, radii_mm)
        if not wall_mm:
            self._add(box, 2 * half * np.float32(activity), depth)
            return
        inner = tuple(max(r - wall_mm, 1e-3) for r in radii_mm)
        hollow = self._half(box, centre, (inner[0], inner[1], inner[2]))
        for side in (-1, 1):
            self._add(box, (half - hollow) * np.float32(activity), depth + side * (half + hollow) / 2)

    def flesh(
        self, a: Point, b: Point, radius_mm: float, *, end_radius_mm: float | None = None, deep: float = 1.0
    ) -> None:
        """Extend the outline by a rod of soft tissue that is `deep` times as deep as wide."""
        last = radius_mm if end_radius_mm is None else end_radius_mm
        reach = max(radius_mm, last)
        (left, right), (low, high) = sorted((a[0], b[0])), sorted((a[2], b[2]))
        box = self._box(left - reach, right + reach, low - reach, high + reach)
        thickness, depth = self._rod(box, a, b, radius_mm, last)
        self._outline(box, np.where(thickness > 0, thickness / 2 * deep, -1e3), depth)

    def bulk(self, centre: Point, radii_mm: Point) -> None:
        """Extend the outline by an ellipsoid of soft tissue."""
        box, half, depth = self._ball(centre, radii_mm)
        self._outline(box, np.where(half > 0, half, -1e3), depth)

    def vary(self, grain_mm: float, spread: float, rng: np.random.Generator) -> None:
        """Multiply the activity by a smooth random field with mean 1.

        Args:
            grain_mm: Correlation length of the field, as the SD of a Gaussian in mm.
            spread: SD of the logarithm of the field.
            rng: Random generator.
        """
        white = rng.standard_normal(self.activity.shape, np.float32)
        smooth = gaussian_filter(white, (0, *[grain_mm / self.pixel_mm] * 2), mode="wrap")
        smooth *= np.float32(spread / max(float(smooth.std()), 1e-6))
        self.activity[:] *= np.exp(smooth - np.float32(spread**2 / 2))

    def fill(self, activity: float) -> None:
        """Add the activity of soft tissue between back and front."""
        edges = (np.arange(SLABS + 1) - SLABS / 2) * SLAB_MM
        for slab, (low, high) in enumerate(pairwise(edges)):
            inside = np.minimum(self.front, high) - np.maximum(self.back, low)
            self.activity[slab] += np.float32(activity) * np.clip(inside, 0, None)

    def _rod(self, box: tuple[slice, slice], a: Point, b: Point, first: float, last: float) -> tuple[Field, Field]:
        """Return the thickness of a rod in a box of pixels, and the depth of its centre, both in mm."""
        x, z = self.x[:, box[1]], self.z[box[0]]
        along = np.array([b[0] - a[0], b[2] - a[2]], np.float32)
        length = max(float(along @ along), 1e-6)
        t = np.clip(((x - a[0]) * along[0] + (z - a[2]) * along[1]) / length, 0, 1).astype(np.float32)
        apart = np.square(x - a[0] - t * along[0]) + np.square(z - a[2] - t * along[1])
        radius = np.float32(first) + np.float32(last - first) * t
        thickness = 2 * np.sqrt(np.clip(np.square(radius) - apart, 0, None))
        return thickness.astype(np.float32), np.float32(a[1]) + np.float32(b[1] - a[1]) * t

    def _ball(self, centre: Point, radii: Point) -> tuple[tuple[slice, slice], Field, Field]:
        box = self._box(centre[0] - radii[0], centre[0] + radii[0], centre[2] - radii[2], centre[2] + radii[2])
        half = self._half(box, centre, radii)
        return box, half, np.full_like(half, centre[1])

    def _half(self, box: tuple[slice, slice], centre: Point, radii: Point) -> Field:
        """Return half the thickness of an ellipsoid, in mm."""
        x, z = self.x[:, box[1]], self.z[box[0]]
        apart = np.square((x - centre[0]) / radii[0]) + np.square((z - centre[2]) / radii[2])
        return (radii[1] * np.sqrt(np.clip(1 - apart, 0, None))).astype(np.float32)

    def _box(self, left: float, right: float, low: float, high: float) -> tuple[slice, slice]:
        height, width = self.front.shape
        top, bottom = (int(np.clip(np.floor(v), 0, height)) for v in (self.row(high), self.row(low) + 2))
        first, last = (int(np.clip(np.floor(v), 0, width)) for v in (self.column(left), self.column(right) + 2))
        return slice(top, bottom), slice(first, last)

    def _add(self, box: tuple[slice, slice], amount: Field, depth: Field) -> None:
        """Distribute an amount between the two slabs that are nearest to its depth."""
        place = np.clip(depth / SLAB_MM + (SLABS - 1) / 2, 0, SLABS - 1.001)
        lower = place.astype(np.intp)
        share = (place - lower).astype(np.float32)
        rows, columns = np.indices(amount.shape, sparse=True)
        view = self.activity[(slice(None), *box)]
        view[lower, rows, columns] += amount * (1 - share)
        view[lower + 1, rows, columns] += amount * share

    def _outline(self, box: tuple[slice, slice], half: Field, depth: Field) -> None:
        np.maximum(self.front[box], depth + half, out=self.front[box])
        np.minimum(self.back[box], depth - half, out=self.back[box])
