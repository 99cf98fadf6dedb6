"""Paint the braincase, skull base, facial bones, jaws and eyes."""

from __future__ import annotations

import numpy as np

from lib.data.phantom.anatomy.body import cranium, half_grid, upsample
from lib.data.phantom.anatomy.canvas import Canvas, Field, Point, Region
from lib.data.phantom.anatomy.shapes import box, capsule, chain, ellipsoid, smooth_interp, smooth_noise
from lib.data.phantom.anatomy.streams import Streams

SPONGY_HU = 350.0


def base_height(x: Field, y: Field) -> Field:
    """Return z of the inner skull base in mm, ``(X, Y, 1)``."""
    nodes = [-90, -60, -25, 8, 14, 25, 32, 42, 60, 78, 95]
    middle = smooth_interp(y, nodes, [-12, -26, -24, -14, 2, 26, 29, 34, 35, 38, 44])
    side_nodes = [-90, -60, -28, -14, -4, 6, 30, 40, 50, 60, 95]
    side = smooth_interp(y, side_nodes, [-12, -24, -16, 8, 14, 4, 2, 10, 34, 42, 44])
    blend = np.clip((np.abs(x) - 8) / 18, 0, 1)
    return middle + (side - middle) * (blend * blend * (3 - 2 * blend))


def paint_braincase(canvas: Canvas, streams: Streams) -> None:
    """Paint the cranial vault with diploe, the cranial floor, brain and ventricles."""
    rng = streams.of("braincase")
    region = canvas.region((-90, -100, -35), (90, 110, 150))
    if region.is_empty:
        return
    half = half_grid(region.grid)
    thick = rng.uniform(5, 8.5) + smooth_noise(half, rng, amplitude=0.7, wavelength_mm=70)
    outer = cranium(half)
    shape = region.grid.shape
    d, t = upsample(outer, shape), upsample(thick, shape)
    base = base_height(region.grid.x, region.grid.y)
    above = base - region.grid.z + smooth_noise(region.grid, rng, amplitude=1.2, wavelength_mm=30)
    region.paint(np.maximum(d + t, above), 36 + rng.uniform(-4, 4))
    _ventricles(canvas, rng)
    cortical = rng.uniform(900, 1600)
    diploe = np.clip(1.6 - np.abs(d + t / 2) / (0.28 * t), 0, 1)
    density = (cortical - diploe * rng.uniform(200, 800)).astype(np.float32)
    vault = np.maximum(np.maximum(d, np.negative(d + t)), above - 4)
    region.paint(vault, density)
    floor = np.maximum(np.maximum(np.abs(above - 1.5) - 1.7, d), _foramen(region))
    region.paint(floor, cortical * 0.8)


def _foramen(region: Region) -> Field:
    g = region.grid
    return 14 - np.sqrt(g.x**2 + ((g.y + 9) / 1.15) ** 2) + 0 * g.z


def _ventricles(canvas: Canvas, rng: np.random.Generator) -> None:
    region = canvas.region((-45, -45, 35), (45, 60, 95))
    if region.is_empty:
        return
    width = rng.uniform(2.5, 7)
    for s in (-1, 1):
        points: list[Point] = [(s * 9, 40, 58), (s * 10, 10, 70), (s * 20, -25, 62)]
        region.paint(chain(region.grid, points, [width, width, width]), 8)
    if rng.random() < 0.5:
        region.paint(ellipsoid(region.grid, (0, -4, 50), (4, 4, 4)), 250)


def paint_skull_base(canvas: Canvas, streams: Streams) -> None:
    """Paint the sphenoid body, clivus, petrous and mastoid bone, and pterygoid plates."""
    rng = streams.of("skull base")
    middle = canvas.region((-22, 0, -30), (22, 60, 45))
    if not middle.is_empty:
        g = middle.grid
        roof = smooth_interp(g.y, [4, 12, 22, 32, 46, 60], [-16, -12, 3, 12, 15, 16])
        body = np.maximum(np.maximum(np.abs(g.x) - 14, roof - g.z), g.z - base_height(g.x, g.y))
        body = np.maximum(body, np.maximum(6 - g.y, g.y - 50))
        middle.paint(body, SPONGY_HU + rng.uniform(-80, 150))
        for shell in (np.abs(g.z - roof - 1) - 1.1, np.abs(g.z - base_height(g.x, g.y)) - 1.1):
            middle.paint(np.maximum(np.maximum(shell, np.abs(g.x) - 15), np.maximum(6 - g.y, g.y - 48)), 800)
    for s in (-1, 1):
        region = canvas.around([(s * 10, -40, -38), (s * 75, 30, 30)], 2)
        if region.is_empty:
            continue
        g = region.grid
        petrous = capsule(g, (s * 50, -14, 4), (s * 18, 8, 3), 10, 6)
        mastoid = ellipsoid(g, (s * 54, -16, -8), (12, 15, 23))
        bone = np.minimum(petrous, mastoid) + smooth_noise(g, rng, amplitude=0.8, wavelength_mm=18)
        region.paint(bone, 550 + rng.uniform(-100, 200))
        region.paint(np.abs(bone + 0.8) - 0.9, 1100)
        region.paint(ellipsoid(g, (s * 30, -3, 4), (7, 5, 5)), 1700)
        plates = canvas.around([(s * 8, 38, -16), (s * 26, 54, 16)], 2)
        for end in ((s * 20, 42, -14), (s * 14, 42, -14)):
            plates.paint(capsule(plates.grid, (s * 16, 49, 12), end, 1.8, 1.0), 800)


def paint_face(canvas: Canvas, streams: Streams) -> None:
    """Paint maxilla, palate, zygoma, orbits with eyes, and the nasal bones."""
    rng = streams.of("face")
    nose = canvas.region((-18, 78, 0), (18, 118, 45))
    if not nose.is_empty:
        nose.paint(np.abs(chain(nose.grid, [(0, 88, 34), (0, 98, 16)], [5.5, 8.5])) - 1.0, 700)
    palate = canvas.region((-30, 40, -40), (30, 100, -5))
    if not palate.is_empty:
        g = palate.grid
        vault = np.maximum(np.abs(g.z + 16.5 + 0.004 * g.x**2) - 2.2, np.abs(g.x) - 24)
        palate.paint(np.maximum(vault, np.maximum(49 - g.y, g.y - 92)), 650)
    for s in (-1, 1):
        _orbit(canvas, s, rng)
        _cheek(canvas, s, rng)


def _orbit(canvas: Canvas, s: int, rng: np.random.Generator) -> None:
    region = canvas.around([(s * 8, 38, 0), (s * 58, 102, 50)], 1)
    if region.is_empty:
        return
    g = region.grid
    cone = capsule(g, (s * 34, 82, 26), (s * 19, 44, 27), 19, 4.5)
    wall = np.maximum(np.abs(cone - 0.8) - 0.8, g.y - 88 + 0.35 * np.maximum(g.side(s) - 32, 0))
    region.paint(wall, 700)
    region.paint(np.maximum(cone, g.y - 88), rng.uniform(-110, -75))
    eye: Point = (s * 33, 80 + rng.uniform(-2, 2), 26)
    region.paint(ellipsoid(g, eye, (12.3, 12, 12.3)) - 0.5, 45)
    region.paint(ellipsoid(g, eye, (11.3, 11, 11.3)), 12)
    region.paint(ellipsoid(g, (s * 33, eye[1] + 8, 26), (4.5, 2, 4.5)), 75)
    apex: Point = (s * 21, 48, 27)
    region.paint(capsule(g, (s * 31, 73, 26), apex, 2.3), 35)
    for dx, dz in ((10, 0), (-10, 0), (0, 10), (0, -10)):
        region.paint(chain(g, [(eye[0] + dx, 84, 26 + dz), (s * 29 + dx, 70, 26 + dz), apex], [1.2, 2.6, 1.2]), 55)


def _strut(canvas: Canvas, points: list[Point], radii: list[float], *, core_hu: float, shell_hu: float) -> None:
    """Paint a thin bent bone, such as a cheekbone, along a polyline: first all of it dense, then its spongy core.

    Points and radii are in mm; the dense shell is 1.3 mm thick. Each segment is painted in a small box around it.
    """
    for shrink, hu in ((0.0, shell_hu), (1.3, core_hu)):
        for i in range(len(points) - 1):
            local = canvas.around(points[i : i + 2], max(radii[i : i + 2]) + 2)
            if not local.is_empty:
                bone = capsule(local.grid, points[i], points[i + 1], radii[i] - shrink, radii[i + 1] - shrink)
                local.paint(bone, hu)


def _cheek(canvas: Canvas, s: int, rng: np.random.Generator) -> None:
    drop = rng.uniform(-2, 3)
    arch: list[Point] = [(s * 38, 82, 2), (s * 50, 72, 2 - drop), (s * 62, 42, 2), (s * 64, 12, 5)]
    rim: list[Point] = [(s * 16, 89, 9), (s * 34, 86, 6), (s * 49, 76, 12), (s * 50, 74, 30)]
    process: list[Point] = [(s * 11, 90, 32), (s * 14, 89, 8), (s * 16, 87, -14)]
    strut: list[Point] = [(s * 46, 78, -2), (s * 36, 80, -18)]
    shapes: tuple[tuple[list[Point], list[float]], ...] = (
        (arch, [5, 6, 3, 3]),
        (rim, [2.2, 2.2, 3, 3]),
        (process, [2.4, 2.4, 3.2]),
        (strut, [4, 3]),
    )
    for points, radii in shapes:
        _strut(canvas, points, radii, core_hu=SPONGY_HU, shell_hu=1000)
    wing = canvas.around([(s * 40, 40, 0), (s * 56, 82, 44)], 1)
    if not wing.is_empty:
        g = wing.grid
        wing.paint(box(g, (s * 47, 60, 22), (2.2, 16, 18)) + 0.15 * (g.side(s) - 47), 600)


def _arch(width: float, depth: float, front: float, count: int) -> list[tuple[float, float]]:
    angles = np.linspace(-1.25, 1.25, count)
    return [(float(width * np.sin(a) / np.sin(1.25)), float(front - depth * (1 - np.cos(a)))) for a in angles]


def paint_jaws(canvas: Canvas, streams: Streams) -> list[Point]:
    """Paint alveolar ridges, teeth and mandible; return the places of metal fillings, canonical mm."""
    rng = streams.of("jaws")
    gape = rng.uniform(0, 4) if rng.random() < 0.8 else rng.uniform(4, 12)
    region = canvas.region((-65, -5, -90), (65, 110, 15))
    metal: list[Point] = []
    if region.is_empty:
        return metal
    toothless = rng.random() < 0.08
    for upper, z, front in ((True, -22.0, 94.0), (False, -48.0 - gape, 92.0)):
        spots = _arch(26, 55, front, 14)
        ridge = [(x, y - 2, z if upper else z - 8) for x, y in [*spots[::2], spots[-1]]]
        local = canvas.around(ridge, 14)
        local.paint(chain(local.grid, ridge, [5.5] * len(ridge)), SPONGY_HU + 100)
        metal += [] if toothless else _teeth(canvas, spots, z, upper, rng)
    _mandible(canvas, gape, rng)
    return metal


def _teeth(
    canvas: Canvas, spots: list[tuple[float, float]], z: float, upper: bool, rng: np.random.Generator
) -> list[Point]:
    metal: list[Point] = []
    sign = -1 if upper else 1
    filled = rng.random() < 0.4
    for i, (x, y) in enumerate(spots):
        if rng.random() < 0.06:
            continue
        wide = 4.2 if i in (0, 1, 2, 11, 12, 13) else 3.2
        crown: Point = (x, y, z + sign * 10)
        local = canvas.around([(x, y, z - sign * 6), crown], 7)
        local.paint(capsule(local.grid, (x, y - 1, z - sign * 5), crown, 2.0, wide), 1500)
        local.paint(ellipsoid(local.grid, crown, (wide, wide, 4)), rng.uniform(1900, 2600))
        if filled and wide > 4 and rng.random() < 0.4:
            local.paint(ellipsoid(local.grid, (x, y, crown[2] + sign * 2), (2.5, 2.5, 2)), 3071)
            metal.append(crown)
    return metal


def _mandible(canvas: Canvas, gape: float, rng: np.random.Generator) -> None:
    low = -68 - gape - rng.uniform(0, 6)
    for s in (-1, 1):
        body: list[Point] = [(0, 88, low), (s * 22, 76, low), (s * 40, 42, low + 6), (s * 46, 20, low + 12)]
        ramus: list[Point] = [(s * 46, 20, low + 12), (s * 47, 18, -28), (s * 49, 12, -3)]
        _strut(canvas, body, [6.5, 6.5, 6, 5.5], core_hu=SPONGY_HU, shell_hu=1300)
        _strut(canvas, ramus, [6, 5, 5], core_hu=SPONGY_HU, shell_hu=1300)
        _strut(canvas, [(s * 46, 34, -34), (s * 47, 34, -8)], [3.5, 2], core_hu=900, shell_hu=900)
