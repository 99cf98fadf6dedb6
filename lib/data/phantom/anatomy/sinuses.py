"""Paint the paranasal sinuses into the bone, connect them to the nose, and fill some of them with mucus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.phantom.anatomy.body import cranium
from lib.data.phantom.anatomy.canvas import IGNORE, SINUSES, Canvas, Field, Grid, Point, Region
from lib.data.phantom.anatomy.nose import draw_passages
from lib.data.phantom.anatomy.shapes import capsule, cell_walls, smooth_interp, smooth_max, smooth_noise
from lib.data.phantom.anatomy.skull import base_height
from lib.data.phantom.anatomy.streams import Streams


@dataclass(frozen=True)
class Filling:
    """Filling of one sinus.

    Attributes:
        mucosa_mm: Thickness of the mucosa, in mm.
        level: Share of the depth (back to front) filled with fluid, 0 for none.
        full: Whether the sinus has no air.
        drained: Whether the sinus is open to the nose.
        part: Label value of the air.
    """

    mucosa_mm: float
    level: float
    full: bool
    drained: bool
    part: int


def draw_filling(rng: np.random.Generator) -> Filling:
    """Draw the filling of a sinus; most sinuses are clear and drained."""
    mucosa = rng.uniform(0, 0.6) if rng.random() < 0.65 else rng.uniform(0.6, 5)
    drained = bool(rng.random() < 0.88)
    return Filling(
        mucosa_mm=mucosa,
        level=rng.uniform(0.15, 0.7) if rng.random() < 0.1 else 0.0,
        full=bool(rng.random() < 0.05),
        drained=drained,
        part=SINUSES if drained or rng.random() < 0.4 else IGNORE,
    )


def _paint_sinus(region: Region, sdf: Field, filling: Filling, rng: np.random.Generator, *, wall_mm: float) -> None:
    """Paint one sinus: bony shell, mucosa, fluid and air."""
    region.paint(sdf - wall_mm, rng.uniform(400, 900))
    region.paint(sdf, rng.uniform(10, 50))
    if filling.full:
        return
    lining = filling.mucosa_mm * (1 + 0.5 * np.tanh(smooth_noise(region.grid, rng, amplitude=1, wavelength_mm=18)))
    air = sdf + lining.astype(np.float32)
    inside = sdf < 0
    if filling.level and inside.any():
        depth = region.grid.y.ravel()[np.nonzero(inside.any(axis=(0, 2)))[0]]
        air = np.maximum(air, depth[0] + filling.level * (depth[-1] - depth[0]) - region.grid.y)
    region.paint_airway(air, filling.part)


@dataclass(frozen=True)
class Drain:
    """A channel from a sinus to the nose.

    Attributes:
        points: Polyline of the channel, canonical mm.
        radius_mm: Radius of the channel.
        part: Label value of the air.
    """

    points: tuple[Point, ...]
    radius_mm: float
    part: int = SINUSES

    def paint(self, canvas: Canvas) -> None:
        """Paint the air of the channel."""
        for a, b in zip(self.points[:-1], self.points[1:], strict=True):
            local = canvas.around([a, b], self.radius_mm + 2)
            if not local.is_empty:
                local.paint_airway(capsule(local.grid, a, b, self.radius_mm), self.part)


def paint_sinuses(canvas: Canvas, streams: Streams) -> dict[str, str]:
    """Paint all sinuses and return the state of each; the channels come last, because bone would block them."""
    drains: list[Drain] = []
    state: dict[str, str] = {}
    for group in (paint_frontal, paint_sphenoid, paint_maxillary, paint_ethmoid):
        state |= group(canvas, streams, drains)
    for drain in drains:
        drain.paint(canvas)
    return state


def paint_maxillary(canvas: Canvas, streams: Streams, drains: list[Drain]) -> dict[str, str]:
    """Paint both maxillary sinuses and return their states."""
    state: dict[str, str] = {}
    for s, name in ((-1, "maxillary_left"), (1, "maxillary_right")):
        rng = streams.of(name)
        filling = draw_filling(rng)
        size = rng.uniform(0.6, 1.1)
        region = canvas.around([(s * 13, 40, -32), (s * 50, 92, 16)], 2)
        if not region.is_empty:
            _paint_sinus(
                region, _maxillary_shape(region.grid, s, size, rng), filling, rng, wall_mm=rng.uniform(0.4, 1.0)
            )
        wall = draw_passages(streams)[(s + 1) // 2].width_scale * 12.5
        radius = rng.uniform(0.9, 1.9)
        path = ((s * 22, 62, 2), (s * 18, 64, 7), (s * (wall - 1.5), 64, 8))
        drains += _make_drain(path, radius, filling)
        state[name] = describe_filling(filling)
    return state


def _maxillary_shape(grid: Grid, s: int, size: float, rng: np.random.Generator) -> Field:
    """Return the signed distance to a maxillary sinus: a rounded pyramid whose tip points to the cheekbone."""
    u = grid.side(s)
    inner = 16.5 + 0.03 * np.maximum(grid.z + 4, 0) ** 1.5
    outer = inner + 26 * size * (1 - 0.012 * np.abs(grid.z + 2)) - 0.018 * (grid.y - 70) ** 2 * 0.6
    front, back = 66 + 16 * size - 0.22 * (u - 20), 64 - 17 * size + 0.25 * (u - 20)
    top = 7.5 + 0.05 * (u - 18)
    bottom = -4 - 17 * size + 0.35 * np.maximum(u - 26, 0)
    faces = (inner - u, u - outer, grid.y - front, back - grid.y, grid.z - top, bottom - grid.z)
    edge = rng.uniform(2.2, 4.2)
    # The log-sum-exp of the six faces rounds the edges.
    total = sum(
        np.exp(np.clip((face + skew * (u - 30)) / edge, -20, 8))
        for face, skew in zip(faces, rng.normal(0, 0.12, 6), strict=True)
    )
    sdf = np.float32(edge) * np.log(total)
    return (sdf + smooth_noise(grid, rng, amplitude=0.9, wavelength_mm=16)).astype(np.float32)


def paint_sphenoid(canvas: Canvas, streams: Streams, drains: list[Drain]) -> dict[str, str]:
    """Paint the two sphenoid sinuses, separated by an off-centre septum, and return their states."""
    rng = streams.of("sphenoid")
    region = canvas.region((-24, 8, 4), (24, 58, 40))
    state: dict[str, str] = {}
    split = rng.normal(0, 3)
    tilt = rng.normal(0, 0.15)
    size = rng.uniform(0.75, 1.3)
    child = rng.random() < 0.12
    for s, name in ((-1, "sphenoid_left"), (1, "sphenoid_right")):
        filling = draw_filling(rng)
        if not region.is_empty:
            g = region.grid
            wide = rng.uniform(10, 16) * size
            back = 44 - (10 if child else rng.uniform(16, 26) * size)
            half = ((48 - back) / 2, rng.uniform(6.5, 9.5) * size)
            roof = base_height(g.x, g.y) - 1.8
            k = ((g.y - 48 + half[0]) / half[0]) ** 4 + ((g.z - 14 - half[1]) / half[1]) ** 4
            k = k + ((g.x - s * wide / 2) / (wide / 2 + 4)) ** 4
            sdf = (k**0.25 - 1) * min(half[1], wide / 2)
            plane = 0.6 - (g.x - split - tilt * (g.y - 40)) * s
            sdf = np.maximum(np.maximum(sdf, plane), g.z - roof) + smooth_noise(g, rng, amplitude=0.7, wavelength_mm=13)
            if rng.random() < 0.45:
                # A plate separates an upper and a lower cell; most plates are open at the front.
                plate = g.z - rng.uniform(16, 25) - rng.normal(0, 0.3) * (g.y - 36) - rng.normal(0, 0.3) * g.x
                sdf = np.maximum(sdf, np.minimum(rng.uniform(0.4, 0.9) - np.abs(plate), rng.uniform(38, 50) - g.y))
            _paint_sinus(region, sdf.astype(np.float32), filling, rng, wall_mm=0.6)
        passage = draw_passages(streams)[(s + 1) // 2]
        radius = rng.uniform(0.8, 1.5)
        path = ((s * 5 + split, 44, 21), (s * (passage.septum_mm + 1.2), 55, 19))
        drains += _make_drain(path, radius, filling)
        state[name] = describe_filling(filling)
    return state


def paint_frontal(canvas: Canvas, streams: Streams, drains: list[Drain]) -> dict[str, str]:
    """Paint the lobed frontal sinuses, often asymmetric, sometimes absent, and return their states."""
    state: dict[str, str] = {}
    for s, name in ((-1, "frontal_left"), (1, "frontal_right")):
        rng = streams.of(name)
        filling = draw_filling(rng)
        size = 0.0 if rng.random() < 0.12 else rng.uniform(0.35, 1.3)
        region = canvas.region((-48, 60, 30), (48, 110, 85))
        if region.is_empty or size == 0.0:
            state[name] = "absent" if size == 0.0 else "out of view"
            continue
        _paint_sinus(region, _frontal_shape(region.grid, s, size, rng), filling, rng, wall_mm=rng.uniform(1.0, 2.0))
        radius = rng.uniform(0.9, 1.8)
        drains += _make_drain(((s * 7, 86, 42), (s * 7, 80, 30), (s * 7, 74, 18)), radius, filling)
        state[name] = describe_filling(filling)
    return state


def _frontal_shape(grid: Grid, s: int, size: float, rng: np.random.Generator) -> Field:
    u = grid.side(s)
    outline = np.full((*grid.shape[:1], 1, grid.shape[2]), np.float32(99))
    for _ in range(int(rng.integers(2, 6))):
        across, up = rng.uniform(3, 25) * size, 44 + rng.uniform(0, 22) * size
        radius = rng.uniform(7, 13) * (0.4 + 0.6 * size)
        lobe = np.sqrt((u - across) ** 2 + (grid.z - up) ** 2) - radius
        outline = np.minimum(outline, lobe)
    root = np.sqrt((u - 7) ** 2 + ((grid.z - 43) / 1.3) ** 2) - rng.uniform(4, 6.5)
    outline = np.minimum(outline, root)
    depth = rng.uniform(3.2, 6.8) * smooth_interp(grid.z, [34, 46, 60, 80], [1.3, 1.2, 0.8, 0.45])
    skull = cranium(grid)
    sheet = np.abs(skull + depth + rng.uniform(-1, 1.2)) - depth
    side = 0.5 - u + rng.normal(0, 0.08) * (grid.z - 45)
    sdf = np.maximum(smooth_max(outline, sheet, 5), np.maximum(side, 62 - grid.y))
    return (sdf + smooth_noise(grid, rng, amplitude=0.6, wavelength_mm=12)).astype(np.float32)


def paint_ethmoid(canvas: Canvas, streams: Streams, drains: list[Drain]) -> dict[str, str]:
    """Paint the ethmoid cells between nose and orbit, and return the number of cells."""
    state: dict[str, str] = {}
    for s, name in ((-1, "ethmoid_left"), (1, "ethmoid_right")):
        rng = streams.of(name)
        passage = draw_passages(streams)[(s + 1) // 2]
        region = canvas.around([(s * 2, 46, 6), (s * 19, 90, 40)], 1)
        count = int(rng.integers(5, 13))
        if region.is_empty:
            state[name] = "out of view"
            continue
        g = region.grid
        u = passage.outwards(g)
        outer = smooth_interp(g.y, [46, 56, 75, 90], [15, 14.5, 12.5, 10.5])
        roof = np.minimum(smooth_interp(g.y, [46, 56, 82, 90], [30, 33, 36, 32]), base_height(g.x, g.y) - 2)
        low = smooth_interp(g.y, [46, 60, 80, 90], [11, 9, 9, 14])
        envelope = np.maximum(
            np.maximum(passage.wall(g.y, g.z) + 0.5 - u, u - outer), np.maximum(g.z - roof, low - g.z)
        )
        envelope = np.maximum(envelope, np.maximum(49 - g.y, g.y - rng.uniform(84, 89)))
        seeds = np.stack([s * rng.uniform(5, 14, count), rng.uniform(50, 88, count), rng.uniform(11, 34, count)], -1)
        gap, _ = cell_walls(g, seeds.astype(np.float32))
        wall = rng.uniform(0.12, 0.45)
        region.paint(envelope - 0.5, rng.uniform(60, 280))
        lining = rng.uniform(0, 0.25) if rng.random() < 0.7 else rng.uniform(0.4, 2)
        cells = np.maximum(envelope + lining, wall + lining - gap)
        cells = (cells + smooth_noise(g, rng, amplitude=0.3, wavelength_mm=8)).astype(np.float32)
        region.paint_airway(cells, SINUSES)
        drains += _connect_cells(seeds, s, rng)
        state[name] = f"{count} cells"
    return state


def _connect_cells(seeds: np.ndarray, s: int, rng: np.random.Generator) -> list[Drain]:
    """Return drains from most cells to the nearest cell that is closer to the middle meatus."""
    meatus = np.array([s * 8.0, 70.0, 11.0])
    drains: list[Drain] = []
    for seed in seeds:
        nearer = [other for other in seeds if np.linalg.norm(other - meatus) < np.linalg.norm(seed - meatus)]
        target = min(nearer, key=lambda other, here=seed: float(np.linalg.norm(other - here))) if nearer else meatus
        if rng.random() < 0.9:
            drains.append(Drain((_point(seed), _point(target)), rng.uniform(0.7, 1.3)))
    return drains


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def _make_drain(points: tuple[Point, ...], radius: float, filling: Filling) -> list[Drain]:
    return [Drain(points, radius, filling.part)] if filling.drained and not filling.full else []


def describe_filling(filling: Filling) -> str:
    """Return the state of a sinus as text."""
    if filling.full:
        return "full"
    if not filling.drained:
        return "closed"
    return "open with fluid" if filling.level else "open"
