"""Hold the volumes into which the anatomy is painted: density, airway occupancy and part codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]
Point = tuple[float, float, float]

NASAL_CAVITY, SINUSES, PHARYNX, LARYNX, TRACHEA, IGNORE = 1, 2, 3, 4, 5, 255
PARTS: dict[str, int] = {
    "nasal_cavity": NASAL_CAVITY,
    "sinuses": SINUSES,
    "pharynx": PHARYNX,
    "larynx": LARYNX,
    "trachea": TRACHEA,
}
AIR_HU = -1000.0


@dataclass(frozen=True)
class Grid:
    """Coordinates of a regular grid, as broadcastable axes, so that shapes need little memory.

    Attributes:
        x: x of the samples in mm, ``(X, 1, 1)``.
        y: y of the samples in mm, ``(1, Y, 1)``.
        z: z of the samples in mm, ``(1, 1, Z)``.
        step_mm: Spacing in mm, the same along all axes.
    """

    x: Field
    y: Field
    z: Field
    step_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the number of samples along each axis."""
        return self.x.size, self.y.size, self.z.size

    def side(self, sign: int) -> Field:
        """Return the lateral distance from the midplane on one side in mm; ``sign`` is +1 right, -1 left."""
        return self.x * np.float32(sign)


def make_grid(low: Point, high: Point, step_mm: float) -> Grid:
    """Return the grid that covers the box from `low` to `high`; the counts are odd, so that it can be halved."""
    counts = [2 * int(np.ceil((b - a) / step_mm / 2)) + 1 for a, b in zip(low, high, strict=True)]
    axes = [(a + step_mm * np.arange(n)).astype(np.float32) for a, n in zip(low, counts, strict=True)]
    return Grid(axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :], step_mm)


@dataclass(frozen=True)
class Region:
    """A box of the canvas: its grid, its index into the canvas arrays, and views of these arrays."""

    grid: Grid
    index: tuple[slice, slice, slice]
    hu: Field
    air: Field
    part: NDArray[np.uint8]

    @property
    def is_empty(self) -> bool:
        """Whether the box lies outside the canvas."""
        return self.hu.size == 0

    def occupancy(self, sdf: Field) -> Field:
        """Return the share of each voxel inside a shape, 0 to 1, from the signed distance in mm."""
        return np.clip(0.5 - sdf / self.grid.step_mm, 0.0, 1.0)

    def paint(self, sdf: Field, hu: float | Field) -> None:
        """Paint a shape as tissue of the given HU; it replaces airway inside the shape."""
        occupancy = self.occupancy(sdf)
        self.hu[...] += occupancy * (hu - self.hu)
        self.air[...] = np.minimum(self.air, 1.0 - occupancy)

    def paint_air(self, sdf: Field, hu: float = AIR_HU) -> None:
        """Paint a shape as air that is not airway."""
        self.hu[...] += self.occupancy(sdf) * (hu - self.hu)

    def paint_airway(self, sdf: Field, part: int | NDArray[np.uint8]) -> None:
        """Paint a shape as air and record it as a part of the airway, or as `IGNORE`."""
        occupancy = self.occupancy(sdf)
        # The air is the union of the shapes, so a second shape over the same air must not change the density again.
        gain = np.maximum(occupancy - self.air, 0.0) / np.maximum(1.0 - self.air, 1e-3)
        self.hu[...] += gain * (AIR_HU - self.hu)
        self.part[...] = np.where(occupancy > self.air, np.uint8(part) if isinstance(part, int) else part, self.part)
        np.maximum(self.air, occupancy, out=self.air)


@dataclass(frozen=True)
class Canvas:
    """The whole canonical volume.

    Attributes:
        grid: Coordinates of the samples.
        hu: Density in HU, ``(X, Y, Z)``; outer air at the start.
        air: Occupancy of the labelled airway, 0 to 1, ``(X, Y, Z)``.
        part: Part code of the voxels with `air` above 0, ``(X, Y, Z)``.
    """

    grid: Grid
    hu: Field
    air: Field
    part: NDArray[np.uint8]

    @classmethod
    def blank(cls, grid: Grid) -> Canvas:
        """Return a canvas filled with outer air."""
        return cls(
            grid,
            np.full(grid.shape, AIR_HU, np.float32),
            np.zeros(grid.shape, np.float32),
            np.zeros(grid.shape, np.uint8),
        )

    def region(self, low: Point, high: Point) -> Region:
        """Return the box between two canonical points in mm; it is empty outside the canvas."""
        cuts = [
            slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right")))
            for axis, a, b in zip(
                (self.grid.x.ravel(), self.grid.y.ravel(), self.grid.z.ravel()), low, high, strict=True
            )
        ]
        cx, cy, cz = cuts
        grid = Grid(self.grid.x[cx], self.grid.y[:, cy], self.grid.z[:, :, cz], self.grid.step_mm)
        index = (cx, cy, cz)
        return Region(grid, index, self.hu[index], self.air[index], self.part[index])

    def around(self, points: list[Point], margin_mm: float) -> Region:
        """Return the box around some canonical points in mm, with a margin."""
        array = np.array(points)
        low, high = array.min(0) - margin_mm, array.max(0) + margin_mm
        return self.region(tuple(map(float, low)), tuple(map(float, high)))  # type: ignore[arg-type]
