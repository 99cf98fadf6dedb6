"""Paint air inside the body that is not airway: ear, mastoid, mouth and bubbles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.phantom.anatomy.canvas import IGNORE, Canvas, Field, Point, Region
from lib.data.phantom.anatomy.shapes import cell_walls, chain, ellipsoid, smooth_noise
from lib.data.phantom.anatomy.streams import Streams

WALL_MM = 2.0
"""Least thickness of the tissue between a bubble and the airway, in mm."""


def paint_ear_canals(canvas: Canvas, streams: Streams) -> None:
    """Paint the ear canals, the tympanic cavities and sometimes an ear plug."""
    rng = streams.of("ear canals")
    for s in (-1, 1):
        points: list[Point] = [(s * 84, -6, 0), (s * 66, -1, rng.uniform(-2, 2)), (s * 47, 4, 1)]
        local = canvas.around(points, 9)
        if local.is_empty:
            continue
        local.paint_air(chain(local.grid, points, [rng.uniform(3, 6), rng.uniform(2.0, 4), rng.uniform(2.5, 4)]))
        local.paint_air(ellipsoid(local.grid, (s * 44, 4, 3), (2.5, 4.5, 5.5)))
        if rng.random() < 0.12:
            plug: list[Point] = [points[0], points[1]]
            local.paint(chain(local.grid, plug, [5, 3]), rng.uniform(-850, -200))


def paint_mastoids(canvas: Canvas, streams: Streams) -> None:
    """Paint the mastoid air cells: absent to large, some of them filled with fluid."""
    for s in (-1, 1):
        rng = streams.of(f"mastoid {s}")
        extent = rng.uniform(0.4, 1.3)
        if rng.random() < 0.1:
            continue
        region = canvas.around([(s * 32, -40, -34), (s * 70, 12, 24)], 0)
        if region.is_empty:
            continue
        g = region.grid
        shape = ellipsoid(g, (s * 53, -14, -5), (11.5 * extent, 14 * extent, 20 * extent))
        antrum = ellipsoid(g, (s * 46, -6, 7), (7 * extent, 8 * extent, 5))
        envelope = np.minimum(shape, antrum) + smooth_noise(g, rng, amplitude=1.2, wavelength_mm=15)
        count = int(rng.integers(40, 170))
        low, high = np.array([s * 53 - 14, -34, -30]), np.array([s * 53 + 14, 10, 18])
        seeds = rng.uniform(low, high, (count, 3)).astype(np.float32)
        gap, index = cell_walls(g, seeds)
        filled = (rng.random(count) < rng.uniform(0.0, 0.5))[index]
        cells = np.maximum(envelope, rng.uniform(0.2, 0.7) - gap) + 3 * filled
        region.paint_air(cells.astype(np.float32))


def paint_mouth(canvas: Canvas, streams: Streams) -> None:
    """Paint air between tongue and palate as `IGNORE`, and unlabelled bubbles between the teeth."""
    rng = streams.of("mouth")
    if rng.random() < 0.45:
        region = canvas.region((-30, 36, -62), (30, 104, -14))
        if not region.is_empty:
            g = region.grid
            half = rng.uniform(0.6, 5)
            arched = g.z + 24 + 0.012 * g.x**2 + 0.006 * (g.y - 68) ** 2
            gap = np.abs(arched) - half
            gap = np.maximum(gap, np.sqrt((g.x / 20) ** 2 + ((g.y - 70) / rng.uniform(14, 26)) ** 2) * 14 - 14)
            region.paint_airway(gap + smooth_noise(g, rng, amplitude=0.8, wavelength_mm=16), IGNORE)
    for _ in range(int(rng.integers(0, 5))):
        centre: Point = (rng.uniform(-30, 30), rng.uniform(50, 92), rng.uniform(-60, -20))
        _paint_bubble(canvas, centre, rng.uniform(0.8, 2.5), rng)


def _paint_bubble(canvas: Canvas, centre: Point, radius: float, rng: np.random.Generator) -> None:
    local = canvas.around([centre], radius * 2.5 + 2)
    if local.is_empty:
        return
    stretch = rng.uniform(0.5, 2, 3)
    radii = (float(radius * stretch[0]), float(radius * stretch[1]), float(radius * stretch[2]))
    ball = ellipsoid(local.grid, centre, radii)
    local.paint_air(np.where(_near_airway(local), np.float32(5), ball))


def _near_airway(region: Region) -> NDArray[np.bool_]:
    """Return the mask within `WALL_MM` of the labelled airway, ``(X, Y, Z)``.

    Unlabelled air that touched the airway would be part of it, and the label would be wrong.
    """
    reach = int(np.ceil(WALL_MM / region.grid.step_mm))
    return ndimage.maximum_filter(region.air, 2 * reach + 1) > 0.02


def paint_bubbles(canvas: Canvas, skin: Field, streams: Streams) -> None:
    """Paint isolated air pockets in soft tissue, sometimes with emphysema along the muscles."""
    rng = streams.of("bubbles")
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(2, 22))):
            centre: Point = (rng.uniform(-60, 60), rng.uniform(-70, 90), rng.uniform(-230, 90))
            _paint_bubble(canvas, centre, rng.uniform(0.8, 6), rng)
    if rng.random() < 0.1:
        z = rng.uniform(-180, -20)
        region = canvas.region((-70, -70, z - 40), (70, 90, z + 40))
        if region.is_empty:
            return
        sheet = np.abs(smooth_noise(region.grid, rng, amplitude=1, wavelength_mm=24)) * 6 - 0.8
        patch = 0.6 - smooth_noise(region.grid, rng, amplitude=1, wavelength_mm=45)
        far = np.maximum(np.maximum(sheet, patch * 4), skin[region.index] + 2)
        clear = np.where(_near_airway(region) | (region.hu > 130), np.float32(5), far)
        region.paint_air(clear.astype(np.float32))
