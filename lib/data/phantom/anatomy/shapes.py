"""Compute signed distances in mm, negative inside, to the shapes of the anatomy.

Each function returns ``(X, Y, Z)``, or an array that broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from lib.data.phantom.anatomy.canvas import Field, Grid, Point

_TINY = np.float32(1e-6)


def ellipsoid(grid: Grid, centre: Point, radii: Point) -> Field:
    """Return the first-order approximation of the distance to an ellipsoid."""
    k0: Field | float = 0.0
    k1: Field | float = 0.0
    for axis, c, r in zip((grid.x, grid.y, grid.z), centre, radii, strict=True):
        square = ((axis - np.float32(c)) / np.float32(r)) ** 2
        k0 = k0 + square
        k1 = k1 + square / np.float32(r) ** 2
    return _distance(np.asarray(k0), np.asarray(k1), min(radii))


def _distance(k0: Field, k1: Field, smallest: float) -> Field:
    root = np.sqrt(k0)
    return np.where(root < 0.1, np.float32(-smallest), root * (root - 1) / np.sqrt(np.maximum(k1, _TINY)))


def capsule(grid: Grid, a: Point, b: Point, radius_a: float, radius_b: float | None = None) -> Field:
    """Return the distance to a segment with round ends, whose radius changes linearly from `radius_a` to `radius_b`."""
    start = [np.float32(v) for v in a]
    along = [np.float32(q - p) for p, q in zip(a, b, strict=True)]
    rel = [axis - s for axis, s in zip((grid.x, grid.y, grid.z), start, strict=True)]
    length = max(float(sum(v * v for v in along)), 1e-6)
    h = np.clip((rel[0] * along[0] + rel[1] * along[1] + rel[2] * along[2]) / np.float32(length), 0, 1)
    square = sum((r - h * v) ** 2 for r, v in zip(rel, along, strict=True))
    end = radius_a if radius_b is None else radius_b
    return np.sqrt(square) - (np.float32(radius_a) + np.float32(end - radius_a) * h)


def chain(grid: Grid, points: Sequence[Point], radii: Sequence[float]) -> Field:
    """Return the distance to the union of capsules along a polyline."""
    parts = [capsule(grid, points[i], points[i + 1], radii[i], radii[i + 1]) for i in range(len(points) - 1)]
    return np.minimum.reduce(parts)


def box(grid: Grid, centre: Point, half: Point, rounding: float = 1.0) -> Field:
    """Return the distance to a box with rounded edges."""
    q = [
        np.abs(axis - np.float32(c)) - np.float32(h - rounding)
        for axis, c, h in zip((grid.x, grid.y, grid.z), centre, half, strict=True)
    ]
    outside = np.sqrt(sum(np.maximum(v, 0) ** 2 for v in q))
    return outside + np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0) - np.float32(rounding)


def swept_tube(
    grid: Grid,
    z_nodes: Sequence[float],
    *,
    centre_y: Sequence[float],
    half_x: Sequence[float],
    half_y: Sequence[float],
    centre_x: Sequence[float] | float = 0.0,
    bend: Sequence[float] | float = 0.0,
    power: float = 2.0,
) -> Field:
    """Return the distance to a tube along z, whose (super)elliptic cross-section changes with height.

    Args:
        grid: Samples of the result.
        z_nodes: Heights of the nodes in mm, ascending or descending.
        centre_y: y of the centre at each node, in mm.
        half_x: Half width at each node, in mm.
        half_y: Half depth at each node, in mm.
        centre_x: x of the centre at each node, in mm.
        bend: Curvature in 1/mm; the centre moves to the front by ``bend * x**2``.
        power: Exponent of the cross-section; 2 is an ellipse, larger values a rounded rectangle.
    """
    z = grid.z
    order = np.argsort(z_nodes)
    nodes = np.asarray(z_nodes, np.float32)[order]

    def at(values: Sequence[float] | float) -> Field:
        column = np.broadcast_to(np.asarray(values, np.float32), nodes.shape)
        values_at = column[order] if np.ndim(values) else column
        return smooth_interp(z, nodes, values_at)

    a, b = at(half_x), at(half_y)
    px = grid.x - at(centre_x)
    py = grid.y - at(centre_y) - at(bend) * px**2
    if power == 2.0:
        sx, sy = (px / a) ** 2, (py / b) ** 2
        sdf = _distance(sx + sy, sx / a**2 + sy / b**2, float(min(a.min(initial=1e3), b.min(initial=1e3))))
    else:
        k = (np.abs(px / a) ** power + np.abs(py / b) ** power) ** np.float32(1 / power)
        sdf = (k - 1) * np.minimum(a, b)
    ends = np.maximum(nodes[0] - z, z - nodes[-1])
    return np.maximum(sdf, ends)


def smooth_interp(x: Field, nodes: Field | Sequence[float], values: Field | Sequence[float]) -> Field:
    """Return a linear interpolation without corners, smoothed over half of the mean node spacing."""
    width = 0.25 * float(nodes[-1] - nodes[0]) / max(len(nodes) - 1, 1)
    shifts = (-width, -width / 2, 0.0, width / 2, width)
    return np.mean([np.interp(x + s, nodes, values) for s in shifts], axis=0).astype(np.float32)


def smooth_min(a: Field, b: Field, blend_mm: float) -> Field:
    """Return the distance to the union of two shapes, with a fillet of about `blend_mm`."""
    h = np.maximum(np.float32(blend_mm) - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / blend_mm)


def smooth_max(a: Field, b: Field, blend_mm: float | Field) -> Field:
    """Return the distance to the intersection of two shapes, with an edge rounded by about `blend_mm`."""
    blend = np.asarray(blend_mm)
    h = np.maximum(blend.astype(np.float32) - np.abs(a - b), 0)
    return np.maximum(a, b) + h * h * (0.25 / blend).astype(np.float32)


def smooth_noise(
    grid: Grid, rng: np.random.Generator, *, amplitude: float, wavelength_mm: float, terms: int = 4
) -> Field:
    """Return a smooth random field: a sum of plane waves with a standard deviation of about `amplitude`."""
    total = np.zeros(grid.shape, np.float32)
    for _ in range(terms):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / wavelength_mm / np.linalg.norm(direction) * rng.uniform(0.5, 1.6)
        phase = rng.uniform(0, 2 * np.pi)
        wave = [
            np.exp(1j * np.float32(k) * axis).astype(np.complex64)
            for k, axis in zip(direction, (grid.x, grid.y, grid.z), strict=True)
        ]
        # The real part of a product of three one-dimensional phasors avoids a cosine for each voxel.
        plane = (wave[0] * wave[1]) * np.complex64(np.exp(1j * phase))
        total += plane.real * wave[2].real - plane.imag * wave[2].imag
    return total * np.float32(amplitude * np.sqrt(2 / terms))


def cell_walls(grid: Grid, seeds: Field) -> tuple[Field, np.ndarray]:
    """Return the distance to the wall of the Voronoi cell, and the index of the nearest seed, ``(X, Y, Z)`` each.

    The distance is half the difference between the second nearest and the nearest seed: 0 on the wall between two cells
    and larger inside. ``wall - distance`` is the signed distance to cells with walls of that half thickness.
    """
    points = np.stack(np.broadcast_arrays(grid.x, grid.y, grid.z), -1).reshape(-1, 3)
    pair = KDTree(seeds).query(points, k=2)
    distance, index = np.asarray(pair[0]), np.asarray(pair[1])
    gap = 0.5 * (distance[:, 1] - distance[:, 0])
    return gap.reshape(grid.shape).astype(np.float32), index[:, 0].reshape(grid.shape)
