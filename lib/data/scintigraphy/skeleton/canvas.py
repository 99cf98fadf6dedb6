"""Hold the activity of a body in slabs from back to front, and paint rods and balls into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float32]
Point = tuple[float, float, float]
"""Millimetres: to the right of the picture, to the front, upwards from the soles."""

SLABS = 9
SLAB_MM = 30.0
STEEPEST = 5.0
"""The most that a rod seen nearly end on gains in brightness for being seen so."""


@dataclass(frozen=True)
class Canvas:
    """Activity and outline of a body.

    Attributes:
        x: ``(1, W)``, mm.
        z: ``(H, 1)``, mm, downwards in the rows.
        activity: ``(SLABS, H, W)``: activity times mm along each pixel's line, by depth; slab 0 lies at the back.
        front: ``(H, W)``: the skin in front, mm; below `back` where there is no body.
        back: ``(H, W)``.
        pixel_mm: Spacing.
    """

    x: Field
    z: Field
    activity: Field
    front: Field
    back: Field
    pixel_mm: float

    @classmethod
    def blank(cls, shape: tuple[int, int], pixel_mm: float) -> Canvas:
        """Return an empty canvas, the body's midline in the middle and its soles 60 mm above the lower edge."""
        height, width = shape
        x = ((np.arange(width) - (width - 1) / 2) * pixel_mm).astype(np.float32)[None]
        z = ((height - 0.5 - np.arange(height)) * pixel_mm - 60).astype(np.float32)[:, None]
        empty = np.full(shape, -1e3, np.float32)
        return cls(x, z, np.zeros((SLABS, *shape), np.float32), empty, -empty, pixel_mm)

    def row(self, z: float) -> float:
        """Return the row of a height, not rounded."""
        return (float(self.z[0, 0]) - z) / self.pixel_mm

    def column(self, x: float) -> float:
        """Return the column of a place, not rounded."""
        return (x - float(self.x[0, 0])) / self.pixel_mm

    def rods(self, points: Sequence[Point], radii_mm: Sequence[float], activity: float) -> None:
        """Add a bent rod of round section along a line; where its straight parts meet they do not add up.

        Args:
            points: The line.
            radii_mm: The radius at each point, changing evenly in between.
            activity: Per volume.
        """
        reach = max(radii_mm)
        xs, _, zs = zip(*points, strict=True)
        box = self._box(min(xs) - reach, max(xs) + reach, min(zs) - reach, max(zs) + reach)
        amount, depth = np.zeros(self.front[box].shape, np.float32), np.zeros(self.front[box].shape, np.float32)
        for a, b, first, last in zip(points[:-1], points[1:], radii_mm[:-1], radii_mm[1:], strict=True):
            thickness, at = self._rod(box, a, b, first, last)
            seen = float(np.hypot(b[0] - a[0], b[2] - a[2]))
            steep = float(np.hypot(seen, b[1] - a[1])) / max(seen, 1e-3)
            part = thickness * np.float32(activity * min(steep, STEEPEST))
            depth = np.where(part > amount, at, depth)
            amount = np.maximum(part, amount)
        self._add(box, amount, depth)

    def ball(self, centre: Point, radii_mm: Point, activity: float, *, wall_mm: float = 0.0) -> None:
        """Add an ellipsoid, or with a wall its shell alone."""
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
        """Widen the outline by a rod of flesh, `deep` times as deep as it is wide."""
        last = radius_mm if end_radius_mm is None else end_radius_mm
        reach = max(radius_mm, last)
        (left, right), (low, high) = sorted((a[0], b[0])), sorted((a[2], b[2]))
        box = self._box(left - reach, right + reach, low - reach, high + reach)
        thickness, depth = self._rod(box, a, b, radius_mm, last)
        self._outline(box, np.where(thickness > 0, thickness / 2 * deep, -1e3), depth)

    def bulk(self, centre: Point, radii_mm: Point) -> None:
        """Widen the outline by an ellipsoid of flesh."""
        box, half, depth = self._ball(centre, radii_mm)
        self._outline(box, np.where(half > 0, half, -1e3), depth)

    def vary(self, grain_mm: float, spread: float, rng: np.random.Generator) -> None:
        """Multiply what was painted by a random factor of mean 1 that varies from place to place.

        Args:
            grain_mm: How far it varies together, the SD of a Gaussian.
            spread: SD of its logarithm.
            rng: The random numbers.
        """
        white = rng.standard_normal(self.activity.shape, np.float32)
        smooth = gaussian_filter(white, (0, *[grain_mm / self.pixel_mm] * 2), mode="wrap")
        smooth *= np.float32(spread / max(float(smooth.std()), 1e-6))
        self.activity[:] *= np.exp(smooth - np.float32(spread**2 / 2))

    def fill(self, activity: float) -> None:
        """Add flesh's own activity between back and front."""
        edges = (np.arange(SLABS + 1) - SLABS / 2) * SLAB_MM
        for slab, (low, high) in enumerate(pairwise(edges)):
            inside = np.minimum(self.front, high) - np.maximum(self.back, low)
            self.activity[slab] += np.float32(activity) * np.clip(inside, 0, None)

    def _rod(self, box: tuple[slice, slice], a: Point, b: Point, first: float, last: float) -> tuple[Field, Field]:
        """Return the thickness of a rod in a box, and the depth of its middle."""
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
        """Return half the thickness of an ellipsoid."""
        x, z = self.x[:, box[1]], self.z[box[0]]
        apart = np.square((x - centre[0]) / radii[0]) + np.square((z - centre[2]) / radii[2])
        return (radii[1] * np.sqrt(np.clip(1 - apart, 0, None))).astype(np.float32)

    def _box(self, left: float, right: float, low: float, high: float) -> tuple[slice, slice]:
        height, width = self.front.shape
        top, bottom = (int(np.clip(np.floor(v), 0, height)) for v in (self.row(high), self.row(low) + 2))
        first, last = (int(np.clip(np.floor(v), 0, width)) for v in (self.column(left), self.column(right) + 2))
        return slice(top, bottom), slice(first, last)

    def _add(self, box: tuple[slice, slice], amount: Field, depth: Field) -> None:
        """Share an amount between the two slabs whose middles lie about its depth."""
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
