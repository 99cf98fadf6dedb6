"""Paint the spine, the soft tissue and vessels of the neck, and the upper chest."""

from __future__ import annotations

import numpy as np

from lib.data.phantom.anatomy.canvas import Canvas, Field, Point, Region
from lib.data.phantom.anatomy.shapes import box, capsule, chain, ellipsoid, smooth_interp, smooth_min, smooth_noise
from lib.data.phantom.anatomy.streams import Streams


def spine_y(z: Field) -> Field:
    """Return y of the vertebral bodies at heights `z`, in mm."""
    return smooth_interp(z, [-330, -240, -200, -160, -126, -92, -58, -20], [-38, -30, -16, -3, 5, 10, 9, 7])


def paint_spine(canvas: Canvas, streams: Streams) -> None:
    """Paint the cervical and upper thoracic vertebrae, the atlas and the spinal cord."""
    rng = streams.of("spine")
    level, size = -24.0, 15.0
    for index in range(15):
        centre = level - size / 2
        y = float(spine_y(np.full((1, 1, 1), centre, np.float32)).ravel()[0])
        wide = 10 + 0.45 * index
        _vertebra(canvas, (0, y, centre), (wide, 7.5 + 0.4 * index, size / 2 - rng.uniform(1, 2)), index, rng)
        level -= size
        size += 0.6
    ring = canvas.region((-45, -40, -36), (45, 30, -10))
    if not ring.is_empty:
        g = ring.grid
        radius = np.sqrt((g.x / 1.35) ** 2 + (g.y + 5) ** 2)
        ring.paint(np.maximum(np.abs(radius - 20) - 3, np.abs(g.z + 22) - 5), 800)
        for s in (-1, 1):
            ring.paint(ellipsoid(g, (s * 22, 0, -21), (9, 9, 8)), 600)
        ring.paint(capsule(g, (0, 9, -40), (0, 10, -18), 5), 800)
    cord = canvas.region((-12, -70, -330), (12, 30, -10))
    if not cord.is_empty:
        g = cord.grid
        canal = np.sqrt(g.x**2 + (g.y - spine_y(g.z) + 16) ** 2)
        cord.paint(canal - 8, 10)
        cord.paint(canal - 5, 40)


def _vertebra(canvas: Canvas, centre: Point, half: Point, index: int, rng: np.random.Generator) -> None:
    x, y, z = centre
    region = canvas.around([(x - 32, y - 58, z - 16), (x + 32, y + 16, z + 14)], 0)
    if region.is_empty:
        return
    g = region.grid
    body = (np.sqrt((g.x / half[0]) ** 2 + ((g.y - y) / half[1]) ** 2) - 1) * half[1]
    body = np.maximum(body, np.abs(g.z - z) - half[2])
    spongy = rng.uniform(180, 320)
    region.paint(body, 750)
    region.paint(body + 1.4, spongy)
    canal = np.abs(np.sqrt((g.x / 1.15) ** 2 + (g.y - y + 16) ** 2) - 11) - 2
    region.paint(np.maximum(np.maximum(canal, g.y - y + 6), np.abs(g.z - z + 1) - half[2] * 0.75), 600)
    region.paint(capsule(g, (0, y - 26, z - 2), (0, y - 40 - index, z - 9), 2.5, 3.0), 550)
    for s in (-1, 1):
        region.paint(ellipsoid(g, (s * 17, y - 8, z), (6, 6, 7)), 500)
        region.paint(capsule(g, (s * 12, y - 8, z), (s * (20 + 0.8 * index), y - 8 - index, z), 3), 500)


def paint_neck(canvas: Canvas, streams: Streams) -> None:
    """Paint tongue, muscles, glands and vessels of the neck, sometimes with contrast medium."""
    rng = streams.of("neck")
    region = canvas.region((-60, -50, -190), (60, 100, 0))
    if region.is_empty:
        return
    blood = 45.0 if rng.random() < 0.5 else rng.uniform(110, 350)
    muscle = rng.uniform(50, 68)
    tongue = canvas.region((-32, 24, -82), (32, 92, -18))
    if not tongue.is_empty:
        tongue.paint(ellipsoid(tongue.grid, (0, 62, -44), (24, 29, 22)), muscle)
        tongue.paint(ellipsoid(tongue.grid, (0, 46, -60), (20, 18, 20)), muscle - 5)
    wall = canvas.region((-24, 0, -150), (24, 36, 14))
    if not wall.is_empty:
        g = wall.grid
        front = np.maximum(g.y - 23, spine_y(g.z) + 6 - g.y)
        wall.paint(np.maximum(front, np.abs(g.x) - 18), muscle)
    for s in (-1, 1):
        cheek: list[tuple[list[Point], list[float]]] = [
            ([(s * 54, 40, 0), (s * 54, 26, -50)], [8, 8]),
            ([(s * 26, 44, 4), (s * 42, 22, -44)], [7, 8]),
            ([(s * 52, -14, -20), (s * 42, 14, -90), (s * 16, 38, -165)], [8, 9, 8]),
            ([(s * 20, -34, -30), (s * 24, -34, -150)], [14, 15]),
            ([(s * 42, -22, -90), (s * 56, -40, -160)], [9, 12]),
        ]
        for points, radii in cheek:
            local = canvas.around(points, max(radii) + 2)
            if not local.is_empty:
                local.paint(chain(local.grid, points, radii), muscle)
        vessels: list[tuple[list[Point], list[float]]] = [
            ([(s * 24, 14, -20), (s * 26, 22, -85), (s * 20, 22, -165)], [2.6, 3.6, 3.6]),
            ([(s * 30, 10, -20), (s * 34, 18, -90), (s * 26, 26, -170)], [4, 5.5, 6]),
        ]
        for points, radii in vessels:
            local = canvas.around(points, 9)
            if not local.is_empty:
                local.paint(chain(local.grid, points, radii), blood)
        for centre, radii3, hu in (
            ((s * 14.0, 34.0, -128.0), (7.0, 9.0, 20.0), rng.uniform(80, 160)),
            ((s * 58.0, 8.0, -22.0), (9.0, 16.0, 22.0), rng.uniform(-40, 40)),
            ((s * 32.0, 46.0, -72.0), (9.0, 14.0, 9.0), rng.uniform(20, 70)),
        ):
            local = canvas.around([centre], max(radii3) + 2)
            if not local.is_empty:
                local.paint(ellipsoid(local.grid, centre, radii3), hu)


def lung_distance(region: Region) -> Field:
    """Return the signed distance to both lungs in mm, ``(X, Y, Z)``."""
    sides = []
    for s in (-1, 1):
        lung = ellipsoid(region.grid, (s * 66, -22, -276), (50, 66, 104))
        sides.append(np.maximum(lung, 17 + 0.06 * np.maximum(region.grid.y, 0) - region.grid.side(s)))
    return np.minimum(sides[0], sides[1])


def paint_upper_chest(canvas: Canvas, streams: Streams) -> None:
    """Paint lungs with vessels, ribs, mediastinum, clavicles and shoulders."""
    rng = streams.of("chest")
    region = canvas.region((-145, -115, -340), (145, 80, -155))
    if not region.is_empty:
        _thorax(region, rng)
    for s in (-1, 1):
        slump = rng.uniform(-15, 10)
        bones: list[tuple[list[Point], list[float]]] = [
            (
                [(s * 14, 40, -178), (s * 60, 30, -168), (s * 110, 4, -164 + slump), (s * 150, -20, -168 + slump)],
                [7, 5.5, 5, 6],
            ),
            ([(s * 152, -20, -186 + slump), (s * 164, -22, -260)], [22, 13]),
            ([(s * 120, -40, -180 + slump), (s * 90, -82, -250)], [9, 6]),
        ]
        for points, radii in bones:
            local = canvas.around(points, max(radii) + 2)
            if not local.is_empty:
                bone = chain(local.grid, points, radii)
                local.paint(bone, 1100)
                local.paint(bone + 2.0, 250)
    sternum = canvas.region((-30, 20, -340), (30, 70, -170))
    if not sternum.is_empty:
        sternum.paint(box(sternum.grid, (0, 44, -260), (18, 6, 80), 5), 350)


def _thorax(region: Region, rng: np.random.Generator) -> None:
    g = region.grid
    sdf = lung_distance(region)
    middle = np.maximum(np.abs(g.x) - 34, np.maximum(g.z + 190, np.abs(g.y - 5) - 36))
    region.paint(np.maximum(middle, -sdf - 4), rng.uniform(-100, 20))
    vessel = 45.0 if rng.random() < 0.5 else rng.uniform(120, 350)
    pipes: list[tuple[list[Point], list[float]]] = [
        ([(18, 26, -190), (20, 22, -290)], [9, 9]),
        ([(-2, 30, -250), (-8, 22, -228), (-20, -20, -240), (-22, -30, -320)], [13, 13, 12, 11]),
        ([(-14, 20, -180), (-8, 24, -228)], [4, 5]),
        ([(12, 22, -175), (2, 26, -228)], [5, 6]),
    ]
    for points, radii in pipes:
        region.paint(chain(g, points, radii), vessel)
    region.paint(smooth_min(ellipsoid(g, (-18, 18, -310), (42, 34, 46)), sdf * 0 + 99, 1), vessel * 0.8)
    tree = np.abs(smooth_noise(g, rng, amplitude=1, wavelength_mm=26)) + np.abs(
        smooth_noise(g, rng, amplitude=1, wavelength_mm=22)
    )
    vessels = np.clip(1.5 - tree * 4, 0, 1) + 0.06 * smooth_noise(g, rng, amplitude=1, wavelength_mm=60)
    lung_hu = rng.uniform(-900, -780)
    region.paint(sdf, (lung_hu + 880 * np.clip(vessels, 0, 1)).astype(np.float32))
    tilt = g.z + 0.45 * g.y + 0.12 * np.abs(g.x)
    band = (np.abs(np.mod(tilt, 25.0) - 12.5) - 4.5) * 0.9
    ribs = np.maximum(np.maximum(np.abs(sdf - 6.5) - 3.8, band), 20 - np.abs(g.x))
    region.paint(ribs, 700)
    region.paint(ribs + 1.5, 220)
