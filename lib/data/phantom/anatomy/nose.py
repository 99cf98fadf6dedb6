"""Paint the two nasal passages between septum, turbinates and lateral wall, open at the nostrils."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.phantom.anatomy.body import NOSTRIL_Z
from lib.data.phantom.anatomy.canvas import NASAL_CAVITY, PHARYNX, Canvas, Field, Grid, Point, Region
from lib.data.phantom.anatomy.shapes import capsule, chain, smooth_interp, smooth_max, smooth_min, smooth_noise
from lib.data.phantom.anatomy.streams import Streams

CHOANA_Y = 49.0
FLOOR_Z = -14.0


@dataclass(frozen=True)
class Passage:
    """One side of the nose.

    Attributes:
        sign: +1 right, -1 left.
        septum_mm: Half thickness of the septum with mucosa, in mm.
        bow_mm: Largest deviation of the septum to the right, in mm.
        bow_at: Place ``(y, z)`` of the largest deviation, in mm.
        gap_septum_mm: Width of the gap between septum and inferior turbinate, in mm.
        gap_wall_mm: Width of the gap between inferior turbinate and lateral wall, in mm.
        gap_floor_mm: Width of the gap below the inferior turbinate, in mm.
        gap_middle_mm: Width of the gap between septum and middle turbinate, in mm.
        width_scale: Scale of the width of the cavity.
        warp_seed: Seed of the random deformation of the septum, the same for both sides.
    """

    sign: int
    septum_mm: float
    bow_mm: float
    bow_at: tuple[float, float]
    gap_septum_mm: float
    gap_wall_mm: float
    gap_floor_mm: float
    gap_middle_mm: float
    width_scale: float
    warp_seed: int

    def bow(self, y: Field, z: Field) -> Field:
        """Return x of the middle plane of the septum in mm: one bend, with a smaller opposite bend behind it."""
        y0, z0 = self.bow_at
        front = np.exp(-(((y - y0) / 18) ** 2)) * np.exp(-(((z - z0) / 14) ** 2))
        back = np.exp(-(((y - y0 + 24) / 14) ** 2)) * np.exp(-(((z - z0 - 8) / 16) ** 2))
        return self.bow_mm * (front - 0.6 * back)

    def outwards(self, grid: Grid) -> Field:
        """Return the lateral distance from the middle plane of the septum, in mm, ``(X, Y, Z)``."""
        warp = smooth_noise(grid, np.random.default_rng(self.warp_seed), amplitude=0.7, wavelength_mm=34)
        return (grid.x - self.bow(grid.y, grid.z) - warp) * np.float32(self.sign)

    def wall(self, y: Field, z: Field) -> Field:
        """Return the lateral distance of the lateral wall from the septum in mm, ``(1, Y, Z)``."""
        height = smooth_interp(z, [-17, -11, -2, 6, 13, 18, 24, 30, 38], [10, 13, 14, 13, 11, 7.5, 4.8, 3.8, 3])
        depth = smooth_interp(y, [44, 54, 68, 84, 92, 98, 104, 112], [0.85, 1, 1.05, 0.93, 0.72, 0.5, 0.42, 0.42])
        return height * depth * np.float32(self.width_scale)

    def gap_centre(self, y: float, z: float) -> Point:
        """Return the point in the middle of the gap beside the septum at one y and z, in mm."""
        across = np.arange(-12, 12, 0.1, dtype=np.float32)[:, None, None]
        line = Grid(across, np.full((1, 1, 1), y, np.float32), np.full((1, 1, 1), z, np.float32), 0.1)
        off = np.abs(self.outwards(line) - (self.septum_mm + 0.5 * self.gap_septum_mm + 0.2))
        return float(across.ravel()[off.argmin()]), y, z


def draw_passages(streams: Streams) -> tuple[Passage, Passage]:
    """Draw the left and the right passage of one nose; the nasal cycle narrows one side."""
    rng = streams.of("nose")
    bow = rng.normal(0, 2.5) if rng.random() < 0.75 else 0.0
    bow_at = (rng.uniform(66, 90), rng.uniform(-8, 12))
    septum = rng.uniform(1.1, 2.3)
    width = rng.uniform(0.88, 1.12)
    open_mm = rng.uniform(0.65, 1.5)
    cycle = rng.uniform(-0.5, 0.5)
    warp_seed = int(rng.integers(2**31))
    sides = []
    for sign in (-1, 1):
        scale = open_mm * (1 + sign * cycle)
        sides.append(
            Passage(
                sign=sign,
                septum_mm=septum,
                bow_mm=bow,
                bow_at=bow_at,
                gap_septum_mm=float(np.clip(rng.uniform(0.8, 1.9) * scale - sign * bow * 0.3, 0.4, 5)),
                gap_wall_mm=rng.uniform(0.4, 1.6) * scale,
                gap_floor_mm=rng.uniform(0.6, 2.2) * scale,
                gap_middle_mm=rng.uniform(0.5, 1.8) * scale,
                width_scale=width * rng.uniform(0.95, 1.05),
                warp_seed=warp_seed,
            )
        )
    return sides[0], sides[1]


def _hump(y: Field, start: float, end: float) -> Field:
    """Return a profile along y that is 1 at the centre and falls to 0 at both ends."""
    t = np.abs((y - (start + end) / 2) / ((end - start) / 2))
    return np.sqrt(np.clip(1 - t**4, 0, 1))


def _oval(u: Field, z: Field, centre_u: Field, centre_z: Field, half_u: Field, half_z: Field) -> Field:
    k = np.sqrt(((u - centre_u) / half_u) ** 2 + ((z - centre_z) / half_z) ** 2)
    return (k - 1) * np.minimum(half_u, half_z)


def _inferior(passage: Passage, grid: Grid, u: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the signed distances to the mucosa of the inferior turbinate and to its bony core."""
    start, end = rng.uniform(48, 54), rng.uniform(95, 102)
    profile = _hump(grid.y, start, end)
    mid_wall = passage.wall(grid.y, np.full((1, 1, 1), -4, np.float32))
    half = np.maximum((mid_wall - passage.septum_mm - passage.gap_septum_mm - passage.gap_wall_mm) / 2, 1.2)
    half_u = np.maximum(half * profile, 0.3)
    centre_u = mid_wall - passage.gap_wall_mm - half_u - 0.02 * (1 - profile)
    half_z = np.maximum(rng.uniform(7.4, 9.6) * (0.35 + 0.65 * profile), 0.5)
    centre_z = FLOOR_Z + passage.gap_floor_mm + half_z
    body = _oval(u, grid.z, centre_u, centre_z, half_u, half_z)
    along = np.maximum(start - grid.y, grid.y - end)
    stem_z = centre_z + 0.55 * half_z + 0.25 * (u - centre_u)
    stem = np.maximum(np.maximum(np.abs(grid.z - stem_z) - rng.uniform(1.0, 1.8), centre_u - u), along)
    core = np.maximum(_oval(u, grid.z, centre_u + 0.5, centre_z + 1.5, half_u * 0.4, half_z * 0.7), along)
    return smooth_min(np.maximum(body, along), stem, 1.5), np.abs(core) - 0.3


def _middle(passage: Passage, grid: Grid, u: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the signed distances to the mucosa of the middle turbinate and to its bony plate."""
    start, end = rng.uniform(50, 56), rng.uniform(86, 95)
    profile = _hump(grid.y, start, end)
    room = passage.wall(grid.y, np.full((1, 1, 1), 11, np.float32)) - passage.septum_mm - passage.gap_middle_mm
    half_u = np.clip((room - rng.uniform(0.5, 2.6)) / 2, 1.2, 5.0) * np.maximum(profile, 0.15)
    half_z = rng.uniform(7, 10) * (0.4 + 0.6 * profile)
    centre_u = passage.septum_mm + passage.gap_middle_mm + half_u + rng.uniform(0, 0.5)
    centre_z = 11 + rng.uniform(-1.5, 2) + 0.08 * (grid.y - 70)
    body = _oval(u, grid.z, centre_u, centre_z, half_u, half_z)
    along = np.maximum(start - grid.y, grid.y - end)
    hang = np.maximum(np.maximum(np.abs(u - centre_u) - 0.9, centre_z - grid.z), along)
    core = np.maximum(np.abs(u - centre_u) - 0.3, np.abs(grid.z - centre_z - 3) - half_z)
    return smooth_min(np.maximum(body, along), hang, 1.0), np.maximum(core, along)


def _superior(passage: Passage, grid: Grid, u: Field, rng: np.random.Generator) -> Field:
    profile = _hump(grid.y, 48, rng.uniform(62, 70))
    half_u = np.maximum(rng.uniform(0.8, 1.6) * profile, 0.2)
    centre_u = passage.septum_mm + rng.uniform(0.8, 1.6) + half_u
    body = _oval(u, grid.z, centre_u, np.full((1, 1, 1), 23, np.float32), half_u, 4 * np.maximum(profile, 0.1))
    stem = np.maximum(np.maximum(np.abs(grid.z - 25) - 1, centre_u - u), np.maximum(48 - grid.y, grid.y - 64))
    return np.minimum(body, stem)


def _cavity(passage: Passage, grid: Grid, u: Field) -> Field:
    """Return the signed distance to the cavity of one side without turbinates."""
    floor = smooth_interp(grid.y, [44, 88, 96, 104, 112], [FLOOR_Z, FLOOR_Z, -12, -8, -6])
    roof = smooth_interp(grid.y, [44, 52, 60, 68, 82, 90, 98, 106, 114], [11, 17, 26, 31, 31, 25, 16, 7, 1])
    swell = 1.2 * np.exp(-(((grid.y - 88) / 8) ** 2) - ((grid.z - 14) / 8) ** 2)
    sdf = smooth_max(passage.septum_mm + swell - u, u - passage.wall(grid.y, grid.z), 0.8)
    sdf = smooth_max(sdf, np.maximum(floor - grid.z, grid.z - roof), 2.5)
    return np.maximum(sdf, np.maximum(CHOANA_Y - 3 - grid.y, grid.y - 110))


def _vestibule(passage: Passage, grid: Grid, rng: np.random.Generator) -> Field:
    s, long = passage.sign, rng.uniform(-2, 2)
    radius = rng.uniform(2.6, 4.2)
    x = rng.uniform(5.6, 7.2)
    points: list[Point] = [(s * 4.5, 99, 1), (s * x, 107 + long, -5), (s * (x + 1), 109 + long, -20)]
    back = chain(grid, points, [radius * 0.8, radius, radius])
    front = capsule(grid, (s * (x - 0.5), 110 + long, -6), (s * x, 113 + long, -9), radius, radius * 0.7)
    return smooth_min(back, front, 3)


def paint_lining(canvas: Canvas, streams: Streams) -> None:
    """Paint mucosa, thin lateral bone and the bony septum around the later passages."""
    rng = streams.of("nasal lining")
    region = canvas.region((-22, 44, -18), (22, 112, 40))
    if region.is_empty:
        return
    g = region.grid
    right = draw_passages(streams)[1]
    roof = smooth_interp(g.y, [44, 60, 68, 82, 90, 98, 112], [14, 27, 32, 33, 29, 19, 4])
    sides = np.abs(g.x) - right.wall(g.y, g.z) - 1.5
    inside = np.maximum(np.maximum(sides, g.z - roof), np.maximum(FLOOR_Z - 1 - g.z, g.y - 108))
    inside = np.maximum(inside, CHOANA_Y - g.y)
    region.paint(inside, rng.uniform(30, 70))
    region.paint(np.maximum(np.abs(inside + 0.4) - 0.5, g.y - 92), rng.uniform(120, 350))
    plate = np.maximum(np.abs(right.outwards(g)) - rng.uniform(0.3, 0.55), g.y - 100)
    region.paint(np.maximum(plate, inside), rng.uniform(120, 350))


def carve(canvas: Canvas, streams: Streams) -> None:
    """Paint the air of the nasal passages and the bony cores of the turbinates."""
    region = canvas.region((-24, 44, -30), (24, 120, 40))
    if region.is_empty:
        return
    for passage in draw_passages(streams):
        _carve_side(region, passage, streams.of(f"turbinates {passage.sign}"))


def _carve_side(region: Region, passage: Passage, rng: np.random.Generator) -> None:
    g = region.grid
    ripple = smooth_noise(g, rng, amplitude=0.35, wavelength_mm=14)
    u = passage.outwards(g) + ripple * 0.5
    cavity = _cavity(passage, g, u)
    inferior, inferior_core = _inferior(passage, g, u, rng)
    middle, middle_core = _middle(passage, g, u, rng)
    superior = _superior(passage, g, u, rng)
    mucosa = np.minimum(np.minimum(inferior, middle), superior) + ripple
    inside = cavity + 0.5
    region.paint(np.maximum(np.minimum(inferior_core, middle_core), inside), rng.uniform(100, 300))
    passage_air = np.maximum(cavity, np.negative(mucosa))
    vestibule = _vestibule(passage, g, rng)
    passage_air = smooth_min(passage_air, vestibule, 1.0)
    below: Field = NOSTRIL_Z + 0.5 - g.z
    region.paint_air(np.maximum(passage_air, np.negative(below)))
    part = np.where(g.y >= CHOANA_Y, np.uint8(NASAL_CAVITY), np.uint8(PHARYNX)) + np.zeros(g.shape, np.uint8)
    region.paint_airway(np.maximum(passage_air, below), part.astype(np.uint8))
