"""Add objects around the patient: table, head rest, pillow, cloth, straps, mask, hair and cables.

A layer is a function ``(grid, skin, rng)`` that returns the density above air of one object in HU, ``(X, Y, Z)``: 0 is
air, 1000 is water.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib.data.phantom.anatomy.canvas import Field, Grid
from lib.data.phantom.anatomy.shapes import smooth_noise
from lib.data.phantom.anatomy.streams import Streams

Layer = Callable[[Grid, Field, np.random.Generator], Field]


def _lowest(grid: Grid, skin: Field) -> float:
    """Return the smallest y of the patient (the back, or the back of the head), in mm."""
    rows = np.nonzero((skin < 0).any(axis=(0, 2)))[0]
    return float(grid.y.ravel()[rows[0]]) if rows.size else float(grid.y.ravel()[0])


def _sheet(distance: Field, thick: float, step: float) -> Field:
    return np.clip((thick / 2 - np.abs(distance)) / step + 0.5, 0, 1)


def table(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a curved table: a thin dense shell around light foam."""
    top = _lowest(grid, skin) - rng.uniform(4, 45)
    radius = rng.uniform(180, 500) if rng.random() < 0.8 else 5000.0
    middle = rng.normal(0, 10)
    across = np.abs(grid.x - middle)
    bow = radius - np.sqrt(np.maximum(radius**2 - np.minimum(across, radius * 0.95) ** 2, 1))
    height = grid.y - top - bow + 0 * grid.z
    thick = rng.uniform(15, 60)
    half = rng.uniform(170, 260)
    inside = np.clip((half - across) / 2, 0, 1)
    shell = _sheet(height, rng.uniform(1.5, 4), grid.step_mm) + _sheet(
        height + thick, rng.uniform(1.5, 4), grid.step_mm
    )
    foam = ((height < 0) & (height > -thick)) * rng.uniform(20, 140)
    return (np.maximum(np.clip(shell, 0, 1) * rng.uniform(600, 1400), foam) * inside).astype(np.float32)


def head_rest(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a cup under the head: a thin shell, open to the front, with a cushion."""
    back = _lowest(grid, skin) - rng.uniform(1, 14)
    half, radius = rng.uniform(85, 135), rng.uniform(95, 150)
    middle = rng.normal(0, 6)
    square = np.abs((grid.x - middle) / half) ** rng.uniform(2, 5)
    depth = np.abs((grid.y - back - radius) / radius) ** rng.uniform(2, 4)
    cup = (np.sqrt(square + depth) - 1) * min(half, radius)
    cut = grid.y < back + radius * rng.uniform(0.5, 1.25)
    along = (grid.z > rng.uniform(-60, -10)) if rng.random() < 0.7 else True
    shell = _sheet(cup, rng.uniform(1.5, 5), grid.step_mm) * rng.uniform(500, 1500)
    cushion = ((cup < 0) & (cup > -rng.uniform(5, 40))) * rng.uniform(15, 130)
    return (np.maximum(shell, cushion) * cut * along + np.zeros(grid.shape, np.float32)).astype(np.float32)


def cloth(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return folds of sheets under and beside the patient: level sets of a smooth random field."""
    wavelength = rng.uniform(25, 70)
    field = smooth_noise(grid, rng, amplitude=1, wavelength_mm=wavelength, terms=6)
    # Scaling the field by a second field prevents a regular pattern of folds.
    field = field * (1 + 0.5 * np.tanh(smooth_noise(grid, rng, amplitude=1, wavelength_mm=wavelength * 2.5, terms=5)))
    density = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        # The width is in units of the field, whose slope is about 2 pi / wavelength.
        fold = np.clip(1.4 - np.abs(field - rng.uniform(-1.5, 1.5)) / rng.uniform(0.03, 0.16), 0, 1)
        density = np.maximum(density, fold * rng.uniform(50, 480))
    back = _lowest(grid, skin)
    where = rng.random()
    if where < 0.55:
        zone = grid.y < back + rng.uniform(5, 60) + 12 * np.sin(grid.x / rng.uniform(15, 40))
    elif where < 0.8:
        zone = (np.abs(grid.x) > rng.uniform(60, 90)) & (grid.y < rng.uniform(-20, 60))
    else:
        zone = (skin > 0) & (skin < rng.uniform(8, 45)) & (grid.z < rng.uniform(-140, -30))
    return density * zone


def pillow(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a soft pillow under the head, with a denser pillow case."""
    back = _lowest(grid, skin)
    top = back + rng.uniform(2, 50) + smooth_noise(grid, rng, amplitude=5, wavelength_mm=90)
    depth = grid.y - top
    inner = (
        np.clip(0.5 - depth / 3, 0, 1)
        * rng.uniform(15, 110)
        * (1 + 0.3 * smooth_noise(grid, rng, amplitude=1, wavelength_mm=20))
    )
    case = _sheet(depth, rng.uniform(1, 3), grid.step_mm) * rng.uniform(100, 450)
    low = depth > -rng.uniform(25, 80)
    return (np.maximum(inner, case) * low).astype(np.float32)


def hair(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return hair: an irregular light layer over the scalp."""
    length = rng.uniform(2, 16) + smooth_noise(grid, rng, amplitude=4, wavelength_mm=40)
    scalp = (grid.z > 15 - 0.6 * grid.y) & (grid.y < 75)
    strands = 0.6 + 0.7 * smooth_noise(grid, rng, amplitude=1, wavelength_mm=7)
    return (np.clip(strands, 0, 2) * (skin < length) * scalp * rng.uniform(30, 260)).astype(np.float32)


def mask(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a thermoplastic mask or bandage: a shell close to the skin, often perforated."""
    gap = rng.uniform(0.8, 5) + smooth_noise(grid, rng, amplitude=0.8, wavelength_mm=35)
    shell = _sheet(skin - gap, rng.uniform(1.5, 4), grid.step_mm)
    pitch = rng.uniform(6, 14)
    holes = np.cos(2 * np.pi * grid.x / pitch) * np.cos(2 * np.pi * grid.z / pitch) < rng.uniform(0.1, 1.1)
    start = rng.uniform(-40, 30)
    return (shell * holes * (grid.y > start) * rng.uniform(250, 1150)).astype(np.float32)


def strap(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a strap over forehead or chin, close to the skin."""
    level, tilt, half = rng.choice([rng.uniform(45, 90), rng.uniform(-70, -20)]), rng.normal(0, 0.3), rng.uniform(8, 25)
    band = np.clip((half - np.abs(grid.z - level - tilt * grid.y)) / 2, 0, 1)
    return (_sheet(skin - rng.uniform(1, 6), rng.uniform(1, 4), grid.step_mm) * band * rng.uniform(150, 900)).astype(
        np.float32
    )


def blanket(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return clothes or a collar around neck and chest: layers with air pockets between them and the skin."""
    density = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        off = rng.uniform(1, 22) + smooth_noise(grid, rng, amplitude=rng.uniform(1, 5), wavelength_mm=45)
        sheet = _sheet(skin - np.maximum(off, 0.5), rng.uniform(1.2, 4.5), grid.step_mm)
        density = np.maximum(density, sheet * rng.uniform(80, 750))
    top = rng.uniform(-170, -60)
    return (density * (grid.z < top + 0.2 * grid.y)).astype(np.float32)


def cables(grid: Grid, skin: Field, rng: np.random.Generator) -> Field:
    """Return a few tubes and wires beside the patient, some hollow."""
    density = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        x0, y0 = rng.uniform(-120, 120), rng.uniform(-90, 110)
        sway = rng.uniform(5, 40)
        x = x0 + sway * np.sin(grid.z / rng.uniform(25, 90) + rng.uniform(0, 6))
        y = y0 + sway * np.cos(grid.z / rng.uniform(25, 90) + rng.uniform(0, 6))
        away = np.sqrt((grid.x - x) ** 2 + (grid.y - y) ** 2)
        radius = rng.uniform(1, 5)
        tube = np.clip(0.5 - (away - radius) / grid.step_mm, 0, 1)
        if rng.random() < 0.5:
            tube -= np.clip(0.5 - (away - radius * 0.6) / grid.step_mm, 0, 1)
        density = np.maximum(density, tube * rng.uniform(300, 1300))
    return density * (skin > 1.0)


LAYERS: dict[str, tuple[Layer, float]] = {
    "table": (table, 0.6),
    "head_rest": (head_rest, 0.55),
    "cloth": (cloth, 0.65),
    "pillow": (pillow, 0.35),
    "hair": (hair, 0.4),
    "mask": (mask, 0.15),
    "strap": (strap, 0.2),
    "blanket": (blanket, 0.4),
    "cables": (cables, 0.25),
}


def add_clutter(hu: Field, skin: Field, grid: Grid, streams: Streams) -> tuple[str, ...]:
    """Add random objects to the air around the patient.

    Args:
        hu: Density in HU, ``(X, Y, Z)``; changed in place.
        skin: Signed distance to the skin in mm, negative inside, ``(X, Y, Z)``.
        grid: World coordinates of the voxels.
        streams: Random streams of the case.
    Returns:
        The names of the added objects.
    """
    names: list[str] = []
    density = np.zeros(hu.shape, np.float32)
    for name, (layer, chance) in LAYERS.items():
        rng = streams.of(f"clutter {name}")
        if rng.random() < chance:
            density = np.maximum(density, layer(grid, skin, rng))
            names.append(name)
    # Objects may reach the skin, but the share of a voxel inside the skin keeps its density.
    outside = np.clip(0.5 + skin / grid.step_mm, 0, 1)
    hu += density * outside * (hu < -500)
    return tuple(names)
