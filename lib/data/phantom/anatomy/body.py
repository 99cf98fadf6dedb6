"""Shape the skin surface and fill it with skin, fat and muscle."""

from __future__ import annotations

import numpy as np
import torch

from lib.data.phantom.anatomy.canvas import AIR_HU, Canvas, Field, Grid, Point
from lib.data.phantom.anatomy.shapes import (
    capsule,
    ellipsoid,
    smooth_interp,
    smooth_max,
    smooth_min,
    smooth_noise,
    swept_tube,
)
from lib.data.phantom.anatomy.streams import Streams

CRANIUM_CENTRE: Point = (0.0, 8.0, 50.0)
CRANIUM_RADII: Point = (71.0, 83.0, 76.0)
NOSTRIL_Z = -14.0


def cranium(grid: Grid) -> Field:
    """Return the signed distance to the outer surface of the braincase, in mm, ``(X, Y, Z)``."""
    return ellipsoid(grid, CRANIUM_CENTRE, CRANIUM_RADII)


def half_grid(grid: Grid) -> Grid:
    """Return the grid with twice the spacing, whose last sample lies at or beyond the end of `grid`."""

    def halve(axis: Field) -> Field:
        values = axis.ravel()
        count = values.size // 2 + 1
        return values[0] + 2 * np.float32(grid.step_mm) * np.arange(count, dtype=np.float32)

    x, y, z = halve(grid.x), halve(grid.y), halve(grid.z)
    return Grid(x[:, None, None], y[None, :, None], z[None, None, :], grid.step_mm * 2)


def upsample(field: Field, shape: tuple[int, int, int]) -> Field:
    """Return a field on `half_grid` interpolated linearly to the full grid of the given shape."""
    size = [2 * n - 1 for n in field.shape]
    tensor = torch.from_numpy(np.ascontiguousarray(field))[None, None]
    full = torch.nn.functional.interpolate(tensor, size=size, mode="trilinear", align_corners=True)[0, 0].numpy()
    return full[: shape[0], : shape[1], : shape[2]]


def _neck_and_trunk(grid: Grid, rng: np.random.Generator) -> Field:
    girth = rng.uniform(0.86, 1.15)
    shrug = rng.uniform(-12, 8)
    shoulder = rng.uniform(0.85, 1.05)
    z = [0, -60, -90, -120, -150 + shrug / 2, -172 + shrug, -195 + shrug, -240, -330]
    half_x = [60, 60 * girth, 59 * girth, 60 * girth, 76 * girth, 140 * shoulder, 185 * shoulder, 198, 190]
    half_y = [60, 59 * girth, 57 * girth, 57 * girth, 60 * girth, 69, 78, 92, 100]
    centre_y = [2, 3, 5, 3, -6, -18, -22, -18, -12]
    return swept_tube(grid, z, centre_y=centre_y, half_x=half_x, half_y=half_y)


def _head(grid: Grid, rng: np.random.Generator, scalp_mm: float) -> Field:
    sdf = cranium(grid) - scalp_mm
    wide = rng.uniform(0.92, 1.08)
    face = ellipsoid(grid, (0, 44, -20), (67 * wide, rng.uniform(50, 54), 72))
    chin = ellipsoid(grid, (0, rng.uniform(70, 78), -70), (30 * wide, 24, 22))
    temples = ellipsoid(grid, (0, 0, 6), (72 * wide, 64, 58))
    sdf = smooth_min(smooth_min(sdf, temples, 10), face, 22)
    sdf = smooth_min(sdf, chin, 14)
    lips = ellipsoid(grid, (0, 92, -32), (24, 11, 13))
    return smooth_min(sdf, lips, 8)


def _nose(grid: Grid, rng: np.random.Generator) -> Field:
    """Return the signed distance to the outer nose: a wedge from the cheeks to the ridge, with alae and columella."""
    long, wide = rng.uniform(-5, 5), rng.uniform(0.85, 1.15)
    front = smooth_interp(grid.z, [-18, -12, -4, 8, 22, 34], [104, 115, 122, 113, 103, 95])
    front = front + long * np.exp(-(((grid.z + 4) / 18) ** 2))
    base = smooth_interp(grid.z, [-18, -8, 4, 16, 30], [17, 19, 18, 14, 11]) * np.float32(wide)
    along = np.clip((front - grid.y) / (front - 84), 0, 1.2)
    half = 3.5 + (base - 3.5) * along ** np.float32(rng.uniform(0.7, 1.1))
    lean = rng.uniform(-0.06, 0.06) * (grid.y - 90)
    wedge = smooth_max((np.abs(grid.x - lean) - half) * 0.85, grid.y - front, 5)
    wedge = smooth_max(wedge, np.maximum(NOSTRIL_Z + 1 - grid.z, grid.z - 36), 4)
    wing = rng.uniform(8.5, 10.5) * wide
    alae = [ellipsoid(grid, (s * wing, 105 + long / 2, -5.5), (7, 9.5, 8.5)) for s in (-1, 1)]
    sdf = smooth_min(wedge, smooth_min(alae[0], alae[1], 4), 4)
    return smooth_min(sdf, capsule(grid, (0, 95, -15), (0, 112 + long, -9), 5, 5), 5)


def skin_distance(canvas: Canvas, streams: Streams) -> Field:
    """Return the signed distance to the skin without ears, in mm, ``(X, Y, Z)``."""
    rng = streams.of("body")
    half = half_grid(canvas.grid)
    sdf = smooth_min(_head(half, rng, rng.uniform(4, 8)), _neck_and_trunk(half, rng), 12)
    sdf = sdf + smooth_noise(half, rng, amplitude=0.8, wavelength_mm=45)
    full = np.ascontiguousarray(upsample(sdf, canvas.grid.shape))
    region = canvas.region((-45, 70, -45), (45, 135, 55))
    if not region.is_empty:
        full[region.index] = smooth_min(full[region.index], _nose(region.grid, streams.of("outer nose")), 5)
    eyes = canvas.region((-60, 70, 0), (60, 110, 55))
    if not eyes.is_empty:
        for s in (-1, 1):
            lid = ellipsoid(eyes.grid, (s * 33, 80, 26), (16, 14, 14))
            full[eyes.index] = smooth_min(full[eyes.index], lid, 6)
    return full


def fill_tissue(canvas: Canvas, skin: Field, streams: Streams) -> None:
    """Fill the body with skin, subcutaneous fat, and muscles separated by fat."""
    rng = streams.of("soft tissue")
    half = half_grid(canvas.grid)
    depth = -skin[::2, ::2, ::2]
    shape = depth.shape
    mix = smooth_noise(half, rng, amplitude=1, wavelength_mm=rng.uniform(22, 34), terms=5)[
        : shape[0], : shape[1], : shape[2]
    ]
    muscle, fat = rng.uniform(45, 70), rng.uniform(-115, -85)
    share = np.clip((np.abs(mix) - rng.uniform(0.05, 0.35)) / 0.25, 0, 1)
    layer = rng.uniform(1.5, 9) * (1 + 0.4 * np.tanh(mix)) + 2
    share = np.where((depth < layer) & (depth > 1.5), np.float32(0.05), share)
    tissue = (fat + (muscle - fat) * share).astype(np.float32)
    tissue[depth <= 1.5] = rng.uniform(0, 40)
    grown = np.pad(tissue, [(0, h - s) for h, s in zip(half.shape, shape, strict=True)], mode="edge")
    inside = np.clip(0.5 - skin / canvas.grid.step_mm, 0, 1)
    canvas.hu[...] += inside * (upsample(grown, canvas.grid.shape) - canvas.hu)


def paint_ears(canvas: Canvas, skin: Field, streams: Streams) -> None:
    """Add the pinnae to the density and to the distance to the skin; both are changed in place."""
    rng = streams.of("ears")
    flare = rng.uniform(0.25, 1.0)
    for s in (-1, 1):
        low, high = ((62, -45, -35), (108, 30, 45)) if s > 0 else ((-108, -45, -35), (-62, 30, 45))
        region = canvas.region(low, high)
        if region.is_empty:
            continue
        u = region.grid.side(s)
        lean = u - 71 - flare * np.maximum(4 - region.grid.y, 0) + 0.012 * (region.grid.z - 5) ** 2 * 0.3
        outline = np.sqrt(((region.grid.y + 8) / 17) ** 2 + ((region.grid.z - 4) / 31) ** 2)
        sheet = np.maximum(np.abs(lean) - rng.uniform(1.4, 2.2), (outline - 1) * 17)
        rim = np.maximum(np.abs(outline - 0.9) * 20 - 2.5, np.abs(lean - 2) - 2.5)
        pinna = smooth_min(sheet, rim, 2)
        region.paint(np.maximum(pinna, -skin[region.index]), rng.uniform(-40, 60))
        skin[region.index] = np.minimum(skin[region.index], pinna)


def clip_to_skin(canvas: Canvas, skin: Field) -> None:
    """Remove density and airway outside the skin, such as the corner of a bone, a large sinus or a nostril."""
    occupancy = np.clip(0.5 - skin / canvas.grid.step_mm, 0, 1)
    canvas.hu[...] = np.where(skin > -canvas.grid.step_mm, np.minimum(canvas.hu, 80), canvas.hu)
    canvas.hu[...] = np.where(occupancy < 1, np.minimum(canvas.hu, AIR_HU + occupancy * 1080), canvas.hu)
    np.minimum(canvas.air, occupancy, out=canvas.air)
