"""Sample the canonical patient onto a scan's voxels, averaging over each slice's thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.phantom.anatomy.canvas import AIR_HU, IGNORE, PARTS, Canvas, Field
from lib.data.phantom.pose import Pose, coordinate_lattice
from lib.data.phantom.view import View

# In soft tissue of 40 HU a voxel 37.5 % full of air reads -350 HU, the wall of an airway by the common threshold.
OCCUPANCY_THRESHOLD = 0.375
_COARSE_MM = 7.0
_CHUNK = 12


@dataclass(frozen=True)
class Sampled:
    """A noise-free scan.

    Attributes:
        hu: ``(X, Y, Z)`` density.
        air: ``(X, Y, Z)`` occupancy of the airway.
        label: ``(X, Y, Z)`` part codes where the occupancy passes the threshold.
        skin: ``(X, Y, Z)`` distance to the skin in canonical mm, negative inside.
    """

    hu: Field
    air: Field
    label: NDArray[np.uint8]
    skin: Field


def sub_slices(view: View) -> int:
    """Return how many positions each slice averages."""
    return max(1, int(np.ceil(view.slice_mm / 1.3)))


def coarse_coordinates(pose: Pose, view: View) -> tuple[NDArray[np.float64], list[int]]:
    """Return canonical coordinates on a coarse lattice that spans the scan, and the fine shape it stands for."""
    count = sub_slices(view)
    fine = [view.shape[0], view.shape[1], view.shape[2] * count]
    axes = []
    for axis in range(3):
        start, length = view.origin_mm[axis], view.spacing_mm[axis] * (view.shape[axis] - 1)
        half = view.slice_mm / 2 * (1 - 1 / count) if axis == 2 else 0.0
        nodes = max(int(length / _COARSE_MM), 2) + 1
        axes.append(np.linspace(start - half, start + length + half, nodes))
    return coordinate_lattice(pose, axes), fine


def bounds(pose: Pose, view: View, margin_mm: float = 3.0) -> tuple[list[float], list[float]]:
    """Return the canonical box that the scan sees, clipped to the patient."""
    lattice, _ = coarse_coordinates(pose, view)
    low = np.maximum(lattice.reshape(3, -1).min(1) - margin_mm, [-212, -125, -330])
    high = np.minimum(lattice.reshape(3, -1).max(1) + margin_mm, [212, 132, 142])
    return list(map(float, low)), list(map(float, np.maximum(high, low + 8)))


class Sampler:
    """Read canonical volumes at the canonical coordinates of a scan."""

    def __init__(self, canvas: Canvas, pose: Pose, view: View) -> None:
        """Hold the coarse coordinates, normalised to the canvas as `grid_sample` wants them."""
        lattice, self.fine = coarse_coordinates(pose, view)
        grid = canvas.grid
        origin = np.array([grid.x.ravel()[0], grid.y.ravel()[0], grid.z.ravel()[0]])
        extent = (np.array(grid.shape) - 1) * grid.step_mm
        normal = (lattice - origin[:, None, None, None]) / extent[:, None, None, None] * 2 - 1
        # grid_sample takes the last axis first.
        self.coarse = torch.from_numpy(normal[::-1].copy().astype(np.float32))[None]
        self.view = view

    def _positions(self, first: int, last: int) -> torch.Tensor:
        """Return sampling positions of slices `first` to `last`, ``(1, X, Y, Z*sub, 3)``."""
        count = sub_slices(self.view)
        offsets = (np.arange(count) + 0.5) / count - 0.5
        z = (np.arange(first, last)[:, None] * self.view.spacing_mm[2] + offsets * self.view.slice_mm).ravel()
        half = self.view.slice_mm / 2 * (1 - 1 / count)
        span = self.view.spacing_mm[2] * (self.view.shape[2] - 1) + 2 * half
        where = (z + half) / span * (self.coarse.shape[4] - 1)
        low = np.clip(where.astype(int), 0, self.coarse.shape[4] - 2)
        share = torch.from_numpy((where - low).astype(np.float32))
        columns = self.coarse[..., low] * (1 - share) + self.coarse[..., low + 1] * share
        flat = columns.permute(0, 1, 4, 2, 3).reshape(1, -1, *self.coarse.shape[2:4])
        plane = torch.nn.functional.interpolate(flat, size=self.fine[:2], mode="bilinear", align_corners=True)
        return plane.reshape(1, 3, len(z), *self.fine[:2]).permute(0, 3, 4, 2, 1)

    def read(self, canvas: Canvas, skin: Field) -> Sampled:
        """Return the averaged scan of a painted canvas."""
        shape = self.view.shape
        out = Sampled(
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.zeros(shape, np.uint8),
            np.empty(shape, np.float32),
        )
        density = torch.from_numpy(np.stack([canvas.hu - AIR_HU, canvas.air]))[None]
        part = torch.from_numpy(_spread(canvas).astype(np.float32))[None, None]
        surface = torch.from_numpy(np.ascontiguousarray(skin[::2, ::2, ::2]))[None, None]
        for first in range(0, shape[2], _CHUNK):
            last = min(first + _CHUNK, shape[2])
            self._read_chunk(out, slice(first, last), density, part, surface)
        return out

    def _read_chunk(
        self, out: Sampled, cut: slice, density: torch.Tensor, part: torch.Tensor, surface: torch.Tensor
    ) -> None:
        positions = self._positions(cut.start, cut.stop)
        sample = torch.nn.functional.grid_sample
        count = sub_slices(self.view)
        shape = (self.view.shape[0], self.view.shape[1], cut.stop - cut.start, count)
        both = sample(density, positions, mode="bilinear", padding_mode="zeros", align_corners=True)[0]
        hu, air = both[0].reshape(shape), both[1].reshape(shape)
        out.hu[..., cut] = hu.mean(-1).numpy() + AIR_HU
        out.air[..., cut] = air.mean(-1).numpy()
        middle = positions[..., count // 2 :: count, :]
        out.skin[..., cut] = sample(surface, middle, mode="bilinear", padding_mode="border", align_corners=True)[0, 0]
        filled = torch.from_numpy(out.air[..., cut] >= OCCUPANCY_THRESHOLD)
        if filled.any():
            codes = sample(part, positions, mode="nearest", padding_mode="zeros", align_corners=True)[0, 0]
            out.label[..., cut][filled.numpy()] = _vote(codes.reshape(shape)[filled], air[filled])


def _vote(codes: torch.Tensor, air: torch.Tensor) -> NDArray[np.uint8]:
    """Return the part that holds most of the air of each voxel, ``(n, sub)`` to ``(n,)``."""
    known = [*PARTS.values(), IGNORE]
    weights = torch.stack([((codes == code) * (air + 1e-3)).sum(-1) for code in known])
    return np.array(known, np.uint8)[weights.argmax(0).numpy()]


def _spread(canvas: Canvas) -> NDArray[np.uint8]:
    """Carry part codes one voxel outwards, so that the nearest sample of a boundary voxel knows its part."""
    filled = np.where(canvas.air > 0.02, canvas.part, 0).astype(np.uint8)
    boxes = ndimage.find_objects((filled > 0).astype(np.uint8))
    if not boxes or boxes[0] is None:
        return filled
    cut = tuple(slice(max(b.start - 1, 0), b.stop + 1) for b in boxes[0])
    inner = filled[cut]
    grown = ndimage.maximum_filter(np.where(inner == IGNORE, 0, inner), 3)
    grown = np.where(grown == 0, ndimage.maximum_filter(inner, 3), grown)
    filled[cut] = np.where(inner == 0, grown, inner)
    return filled


def tidy(label: NDArray[np.uint8], smallest: int = 40) -> NDArray[np.uint8]:
    """Give islands of a part that lie within another part to the part around them.

    They arise where two parts meet, from rounding alone. Islands that touch no other part stay: they are real air.

    Args:
        label: Part codes ``(X, Y, Z)``; changed in place.
        smallest: Voxels from which a piece is no island.
    """
    boxes = ndimage.find_objects((label > 0).astype(np.uint8))
    if not boxes:
        return label
    inner = label[boxes[0]]
    island = np.zeros(inner.shape, bool)
    for code in PARTS.values():
        pieces = _pieces(inner == code)
        island |= (np.bincount(pieces.ravel()) < smallest)[pieces] & (pieces > 0)
    if island.any():
        near = ndimage.maximum_filter(np.where(island, 0, inner), 3)
        pieces = _pieces(island)
        around = ndimage.maximum(near, pieces, np.arange(pieces.max() + 1)).astype(np.uint8)[pieces]
        inner[...] = np.where(island & (around > 0), around, inner)
    return label


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    pieces = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3, 3)), output=pieces)
    return pieces
