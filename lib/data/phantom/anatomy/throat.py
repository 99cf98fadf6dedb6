"""Paint pharynx, larynx and trachea, with cartilages, stenoses and scars."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from lib.data.phantom.anatomy.canvas import IGNORE, LARYNX, PHARYNX, TRACHEA, Canvas, Field, Grid, Point, Region
from lib.data.phantom.anatomy.shapes import (
    capsule,
    chain,
    ellipsoid,
    smooth_interp,
    smooth_max,
    smooth_min,
    smooth_noise,
    swept_tube,
)
from lib.data.phantom.anatomy.streams import Streams

CRICOID_Z = -133.0
CARINA_Z = -246.0


@dataclass(frozen=True)
class Throat:
    """Sizes of one throat.

    Attributes:
        depth: Scale of the depth of the oropharynx, from 0.15 (collapsed) to 1.8 (wide).
        width: Scale of the width of the oropharynx.
        adenoid_mm: Thickness of the adenoids at the roof of the nasopharynx, in mm.
        glottis_mm: Half width between the vocal folds, in mm.
        trachea_mm: Radius of the trachea, in mm.
        drift_mm: Displacement of the trachea to the right at the carina, in mm.
        stenosis_z: Height z of a tracheal stenosis, in mm.
        stenosis: Share of the diameter left at the stenosis; 1 without a stenosis.
        stenosis_mm: Half length of the stenosis, in mm.
        scar: Depth of a tracheostomy-like indentation of the front wall in mm; 0 without a scar.
        soft_palate_mm: Thickness of the soft palate, in mm.
    """

    depth: float
    width: float
    adenoid_mm: float
    glottis_mm: float
    trachea_mm: float
    drift_mm: float
    stenosis_z: float
    stenosis: float
    stenosis_mm: float
    scar: float
    soft_palate_mm: float


def draw_throat(streams: Streams) -> Throat:
    """Draw the throat of one patient."""
    rng = streams.of("throat")
    narrow = rng.random() < 0.3
    return Throat(
        depth=rng.uniform(0.15, 0.5) if rng.random() < 0.15 else rng.uniform(0.5, 1.8),
        width=rng.uniform(0.75, 1.25),
        adenoid_mm=rng.uniform(0, 3) if rng.random() < 0.8 else rng.uniform(3, 9),
        glottis_mm=rng.uniform(0.3, 1.2) if rng.random() < 0.25 else rng.uniform(1.2, 5.0),
        trachea_mm=rng.uniform(7, 10.5),
        drift_mm=rng.uniform(-3, 9),
        stenosis_z=rng.uniform(-200, -138),
        stenosis=rng.uniform(0.25, 0.85) if narrow else 1.0,
        stenosis_mm=rng.uniform(5, 18),
        scar=rng.uniform(2, 7) if rng.random() < 0.15 else 0.0,
        soft_palate_mm=rng.uniform(6, 10),
    )


def trachea_axis(throat: Throat, z: Field) -> tuple[Field, Field]:
    """Return x and y of the tracheal axis at heights `z`, in mm."""
    nodes = [CARINA_Z - 10, -200, -160, -133, -110]
    y = smooth_interp(z, nodes, [2, 14, 29, 35, 40])
    x = smooth_interp(z, nodes, [throat.drift_mm, throat.drift_mm * 0.6, throat.drift_mm * 0.2, 0, 0])
    return x, y


def _nasopharynx(grid: Grid, throat: Throat, rng: np.random.Generator) -> Field:
    wide = 13 * throat.width
    roof = 12 - throat.adenoid_mm * 0.8
    back = 24 + throat.adenoid_mm + smooth_interp(grid.z, [-20, 0, 8, 14], [0, 0, 4, 12])
    half = smooth_interp(grid.z, [-22, -12, 0, 9, 14], [12, 13, 13, 11, 7]) * np.float32(wide / 13)
    half = half * smooth_interp(grid.y, [22, 30, 38, 46, 52], [0.95, 1.05, 0.85, 0.95, 0.95])
    sdf = smooth_max(np.abs(grid.x) - half, np.maximum(back - grid.y, grid.y - 50.5), 4)
    sdf = smooth_max(sdf, np.maximum(grid.z - roof, -18 - grid.z), 5)
    for s in (-1, 1):
        fossa = capsule(grid, (s * (wide - 3), 27, -8), (s * (wide + rng.uniform(-1, 4)), 27, 4), 2.6)
        sdf = smooth_min(sdf, np.maximum(fossa, back - 3 - grid.y), 2)
    return sdf


def _oropharynx(grid: Grid, throat: Throat) -> Field:
    z = [-8, -16, -24, -34, -46, -60, -72, -82, -92, -99, -104]
    depth = np.array([10, 8.5, 4.0, 3.2, 4.5, 6.5, 7.5, 7.0, 4.0, 1.5, 0.6]) * throat.depth
    depth[:2] = (10, 4.5 + 4 * throat.depth)
    half_y = np.maximum(depth, 0.4)
    back = np.array([25, 23, 22, 21.5, 21.5, 22, 22, 22, 22, 22, 22])
    half_x = np.array([12, 11.5, 11, 11, 12.5, 14, 15.5, 16, 15, 13, 9]) * throat.width
    return swept_tube(
        grid, z, centre_y=list(back + half_y), half_x=list(half_x), half_y=list(half_y), bend=-0.012, power=2.4
    )


def _soft_palate(grid: Grid, throat: Throat) -> Field:
    """Return the signed distance to the soft palate with the uvula."""
    sheet = np.sqrt((grid.x / 16) ** 4 + 1) - 1
    half = throat.soft_palate_mm / 2
    rise = -12.5 - half
    points: list[Point] = [(0, 56, rise), (0, 44, rise - 2), (0, 36, rise - 10), (0, 34, rise - 22)]
    flat = Grid(grid.x[:1] * 0, grid.y, grid.z, grid.step_mm)
    return chain(flat, points, [half, half, half * 0.9, half * 0.55]) + 8 * sheet


def _valleculae(grid: Grid) -> Field:
    pair = [ellipsoid(grid, (s * 7, 42, -82), (7, 4.5, 6)) for s in (-1, 1)]
    return smooth_min(pair[0], pair[1], 2)


def _epiglottis(grid: Grid, thick: float, lean: float) -> Field:
    """Return the signed distance to the epiglottis, a curved leaf behind the tongue."""
    bent = Grid(grid.x[:1] * 0, grid.y + 0.03 * grid.x**2, grid.z, grid.step_mm)
    points: list[Point] = [(0, 50, -101), (0, 44, -88), (0, 37 - lean, -74)]
    leaf = np.full(grid.shape, np.float32(1e3))
    for a, b in itertools.pairwise(points):
        leaf = np.minimum(leaf, capsule(bent, a, b, thick))
    width = smooth_interp(grid.z, [-102, -90, -78, -72], [4, 9, 11, 8])
    return np.maximum(leaf, np.abs(grid.x) - width)


def _laryngeal_tube(grid: Grid, throat: Throat) -> Field:
    fold = throat.glottis_mm
    z = [-74, -80, -88, -97, -104, -107, -109.5, -112, -117, -124, CRICOID_Z - 4]
    centre = [34, 35.5, 38, 40.5, 42, 42, 42, 41.5, 39.5, 37.5, 35]
    half_y = [6, 7.5, 8.5, 9, 9.5, 10, 10, 9.5, 9, 9, throat.trachea_mm]
    half_x = [9, 9, 8, 6.5, 4.5, 6.2, fold, fold + 1.8, 5.8, 7.2, throat.trachea_mm * 0.95]
    return swept_tube(grid, z, centre_y=centre, half_x=half_x, half_y=half_y)


def _piriform(grid: Grid, s: int, rng: np.random.Generator) -> Field:
    wide = rng.uniform(2.0, 5.5)
    return chain(grid, [(s * 12, 31, -82), (s * 15, 32, -96), (s * 11, 30, -112)], [wide * 1.2, wide, 1.0])


def _tracheal_tube(grid: Grid, throat: Throat) -> Field:
    z = grid.z
    x0, y0 = trachea_axis(throat, z)
    squeeze = np.exp(-(((z - throat.stenosis_z) / throat.stenosis_mm) ** 2)) * (1 - throat.stenosis)
    radius = throat.trachea_mm * (1 - squeeze) * (1 + 0.02 * np.cos(2 * np.pi * z / 8))
    px, py = grid.x - x0, grid.y - y0
    circle = np.sqrt(px**2 + (py * 0.97) ** 2) - radius
    back = -py - radius * 0.62 - 0.01 * px**2
    # Rounded less at a narrow place: a rounded edge would close a stenosis.
    sdf = smooth_max(circle, back, np.minimum(3, 0.6 * radius))
    if throat.scar:
        bump = throat.scar * np.exp(-(((z + 150) / 7) ** 2)) * np.exp(-((px / 5) ** 2))
        sdf = np.maximum(sdf, py - radius + np.minimum(bump, radius))
    return np.maximum(sdf, np.maximum(CARINA_Z - z, z - CRICOID_Z - 6))


def paint_cartilages(canvas: Canvas, streams: Streams) -> None:
    """Paint the hyoid bone and the laryngeal cartilages, partly calcified."""
    rng = streams.of("cartilage")
    throat = draw_throat(streams)
    hyoid: list[Point] = [(-20, 34, -80), (-14, 48, -83), (0, 54, -84), (14, 48, -83), (20, 34, -80)]
    local = canvas.around(hyoid, 6)
    if not local.is_empty:
        local.paint(chain(local.grid, hyoid, [1.8, 2.2, 3.2, 2.2, 1.8]), rng.uniform(200, 700))
    region = canvas.region((-26, 14, -140), (26, 64, -86))
    if region.is_empty:
        return
    g = region.grid
    shield = np.abs(np.sqrt((g.x / 0.85) ** 2 + (g.y - 34) ** 2 + 4) - 21 + 0.12 * (g.z + 104)) - 1.6
    shield = np.maximum(np.maximum(shield, 26 - g.y), np.maximum(-118 - g.z, g.z + 92 + 0.02 * g.x**2))
    patchy = smooth_noise(g, rng, amplitude=1, wavelength_mm=14)
    hardness = rng.uniform(0, 1)
    region.paint(shield, (90 + hardness * 350 * np.clip(patchy, 0, 1.5)).astype(np.float32))
    ring = np.abs(np.sqrt(g.x**2 + (g.y - 36) ** 2) - throat.trachea_mm - 2.6) - 1.6
    low = -122 - 10 * np.clip((g.y - 30) / 20, 0, 1)
    cricoid = np.maximum(ring, np.abs(g.z - low + 4) - np.maximum(4, 9 - 0.25 * (g.y - 24)))
    region.paint(cricoid, (90 + hardness * 350 * np.clip(patchy, 0, 1.5)).astype(np.float32))
    for s in (-1, 1):
        region.paint(ellipsoid(g, (s * 6, 29, -105), (2.5, 3, 6)), 120 + 200 * hardness)


def paint_tracheal_wall(canvas: Canvas, streams: Streams) -> None:
    """Paint wall and rings of the trachea, and the oesophagus, sometimes with gas."""
    rng = streams.of("oesophagus")
    throat = draw_throat(streams)
    region = canvas.region((-30, -35, -300), (40, 64, -112))
    if region.is_empty:
        return
    g = region.grid
    tube = _tracheal_tube(g, throat)
    region.paint(tube - 2.2, 35)
    x0, y0 = trachea_axis(throat, g.z)
    rings = np.maximum(np.abs(tube - 1.3) - 0.8, np.cos(2 * np.pi * g.z / 8.0) * -1.5 + 0 * g.x)
    region.paint(np.maximum(rings, y0 - 4 - g.y), 80 + rng.uniform(0, 150))
    gullet_x, gullet_y = x0 - rng.uniform(1, 6), y0 - throat.trachea_mm - rng.uniform(2.5, 4.5)
    away = np.sqrt(((g.x - gullet_x) / 1.4) ** 2 + (g.y - gullet_y) ** 2)
    below = g.z + 124
    region.paint(np.maximum(away - 5, below), 40)
    if rng.random() < 0.45:
        bubbles = smooth_noise(g, rng, amplitude=1.4, wavelength_mm=rng.uniform(25, 60))
        region.paint_air(np.maximum(away - 1.0 - bubbles, below + 6).astype(np.float32))


def carve(canvas: Canvas, streams: Streams) -> None:
    """Paint the air from the choanae to the carina, and the bronchi below it as `IGNORE`."""
    throat = draw_throat(streams)
    upper = canvas.region((-26, 16, -120), (26, 66, 16))
    if not upper.is_empty:
        _upper(upper, throat, streams.of("pharynx"))
    lower = canvas.region((-26, -12, -310), (32, 62, -100))
    if not lower.is_empty:
        _lower(lower, throat, streams.of("bronchi"))


def _upper(region: Region, throat: Throat, rng: np.random.Generator) -> None:
    g = region.grid
    rough = smooth_noise(g, rng, amplitude=0.5, wavelength_mm=16)
    pharynx = smooth_min(_nasopharynx(g, throat, rng), _oropharynx(g, throat), 3)
    pharynx = smooth_min(pharynx, _valleculae(g), 2)
    for s in (-1, 1):
        pharynx = smooth_min(pharynx, _piriform(g, s, rng), 2)
    tube = _laryngeal_tube(g, throat)
    leaf = _epiglottis(g, rng.uniform(1.1, 1.7), rng.uniform(-3, 4)) + rough * 0.2
    soft_palate = _soft_palate(g, throat)
    solid = np.minimum(leaf, soft_palate)
    region.paint_airway(np.maximum(pharynx + rough, -solid), PHARYNX)
    # The laryngeal inlet is a plane from the tip of the epiglottis down to the arytenoids.
    inlet = g.z + 76 + (36 - g.y) * 1.9
    front = np.maximum(tube + rough * 0.6, -solid)
    region.paint_airway(np.maximum(front, inlet), LARYNX)
    region.paint_airway(np.maximum(front, -inlet), PHARYNX)
    inner = (tube < 0.7) & (inlet < 0) & (leaf > -0.3)
    region.part[inner & (region.air > 0)] = LARYNX


def _lower(region: Region, throat: Throat, rng: np.random.Generator) -> None:
    g = region.grid
    rough = smooth_noise(g, rng, amplitude=0.3, wavelength_mm=18)
    larynx = np.maximum(_laryngeal_tube(g, throat), np.maximum(g.z + 106, CRICOID_Z - 4 - g.z))
    trachea = smooth_min(_tracheal_tube(g, throat) + rough, np.maximum(larynx, g.z + 118), 3)
    part = np.where(g.z > CRICOID_Z, LARYNX, TRACHEA).astype(np.uint8) + np.zeros(g.shape, np.uint8)
    region.paint_airway(np.minimum(trachea, np.maximum(larynx, -118 - g.z)), part)
    axis_x, axis_y = (float(v.ravel()[0]) for v in trachea_axis(throat, np.full((1, 1, 1), CARINA_Z, np.float32)))
    start: Point = (axis_x, axis_y, CARINA_Z + 4)
    size = throat.trachea_mm
    right = capsule(g, start, (axis_x + 24, axis_y - 8, CARINA_Z - 28), size * 0.75, size * 0.65)
    left = capsule(g, start, (axis_x - 34, axis_y - 10, CARINA_Z - 26), size * 0.7, size * 0.55)
    bronchi = np.maximum(smooth_min(right, left, 1), g.z - CARINA_Z)
    region.paint_airway(bronchi + rng.uniform(-0.5, 0.5), IGNORE)
