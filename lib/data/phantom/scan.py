"""Sample the canonical patient on the voxels of a scan, averaged over the slice thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.phantom.anatomy.canvas import AIR_HU, IGNORE, PARTS, Canvas, Field
from lib.data.phantom.pose import Pose, coordinate_lattice
from lib.data.phantom.view import View

# In soft tissue of 40 HU, a voxel with 37.5 % air has -350 HU, the common threshold for the wall of an airway.
OCCUPANCY_THRESHOLD = 0.375
_COARSE_MM = 7.0
_CHUNK = 12


@dataclass(frozen=True)
class Sampled:
    """A noise-free scan.

    Attributes:
        hu: Density in HU, ``(X, Y, Z)``.
        air: Occupancy of the airway, 0 to 1, ``(X, Y, Z)``.
        label: Part codes of the voxels above the occupancy threshold, ``(X, Y, Z)``.
        skin: Signed distance to the skin in canonical mm, negative inside, ``(X, Y, Z)``.
    """

    hu: Field
    air: Field
    label: NDArray[np.uint8]
    skin: Field


def sub_slices(view: View) -> int:
    """Return the number of positions over which a slice is averaged."""
    return max(1, int(np.ceil(view.slice_mm / 1.3)))


def coarse_coordinates(pose: Pose, view: View) -> tuple[NDArray[np.float64], list[int]]:
    """Return canonical coordinates on a coarse lattice over the scan, and the shape of the fine lattice."""
    count = sub_slices(view)
    fine = [view.shape[0], view.shape[1], view.shape[2] * count]
    axes = []
    for axis in range(3):
        start, length = view.origin_mm[axis], view.spacing_mm[axis] * (view.shape[axis] - 1)
        half = view.slice_mm / 2 * (1 - 1 / count) if axis == 2 else 0.0
        nodes = max(int(length / _COARSE_MM), 2) + 1
        axes.append(np.linspace(start - half, start + length + half, nodes))
    return coordinate_lattice(pose, axes), fine


def visible_box(pose: Pose, view: View, margin_mm: float = 3.0) -> tuple[list[float], list[float]]:
    """Return the corners of the canonical box that the scan covers, clipped to the patient, in mm."""
    lattice, _ = coarse_coordinates(pose, view)
    low = np.maximum(lattice.reshape(3, -1).min(1) - margin_mm, [-212, -125, -330])
    high = np.minimum(lattice.reshape(3, -1).max(1) + margin_mm, [212, 132, 142])
    return list(map(float, low)), list(map(float, np.maximum(high, low + 8)))


class Sampler:
    """Sample canonical volumes at the canonical coordinates of a scan.

    Args:
        canvas: Painted patient.
        pose: Pose of the patient.
        view: Voxel grid of the scan.
    """

    def __init__(self, canvas: Canvas, pose: Pose, view: View) -> None:
        """Compute the coarse coordinates, normalised to the canvas as `grid_sample` expects."""
        lattice, self.fine = coarse_coordinates(pose, view)
        grid = canvas.grid
        origin = np.array([grid.x.ravel()[0], grid.y.ravel()[0], grid.z.ravel()[0]])
        extent = (np.array(grid.shape) - 1) * grid.step_mm
        normal = (lattice - origin[:, None, None, None]) / extent[:, None, None, None] * 2 - 1
        # grid_sample expects the last axis first.
        self.coarse = torch.from_numpy(normal[::-1].copy().astype(np.float32))[None]
        self.view = view

    def _positions(self, first: int, last: int) -> torch.Tensor:
        """Return the sampling positions of slices `first` to `last`, ``(1, X, Y, Z * sub, 3)``."""
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
        """Return the noise-free scan of a painted canvas."""
        shape = self.view.shape
        out = Sampled(
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.zeros(shape, np.uint8),
            np.empty(shape, np.float32),
        )
        density = torch.from_numpy(np.stack([canvas.hu - AIR_HU, canvas.air]))[None]
        part = torch.from_numpy(_dilate_parts(canvas).astype(np.float32))[None, None]
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
            out.label[..., cut][filled.numpy()] = _majority_part(codes.reshape(shape)[filled], air[filled])


def _majority_part(codes: torch.Tensor, air: torch.Tensor) -> NDArray[np.uint8]:
    """Return the part with most of the air in each voxel, ``(n,)``, from samples ``(n, sub)``."""
    candidates = [*PARTS.values(), IGNORE]
    weights = torch.stack([((codes == code) * (air + 1e-3)).sum(-1) for code in candidates])
    return np.array(candidates, np.uint8)[weights.argmax(0).numpy()]


def _dilate_parts(canvas: Canvas) -> NDArray[np.uint8]:
    """Return the part codes dilated by one voxel, so that the nearest sample of a boundary voxel has a part."""
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


def merge_islands(label: NDArray[np.uint8], min_voxels: int = 40) -> NDArray[np.uint8]:
    """Relabel small islands of a part inside another part as that part.

    Rounding produces such islands where two parts meet. An island that touches no other part is real air and is kept.

    Args:
        label: Part codes, ``(X, Y, Z)``; changed in place.
        min_voxels: Size in voxels from which a piece is not an island.
    Returns:
        `label`.
    """
    boxes = ndimage.find_objects((label > 0).astype(np.uint8))
    if not boxes:
        return label
    inner = label[boxes[0]]
    island = np.zeros(inner.shape, bool)
    for code in PARTS.values():
        pieces = _number_pieces(inner == code)
        island |= (np.bincount(pieces.ravel()) < min_voxels)[pieces] & (pieces > 0)
    if island.any():
        near = ndimage.maximum_filter(np.where(island, 0, inner), 3)
        pieces = _number_pieces(island)
        around = ndimage.maximum(near, pieces, np.arange(pieces.max() + 1)).astype(np.uint8)[pieces]
        inner[...] = np.where(island & (around > 0), around, inner)
    return label


def _number_pieces(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    pieces = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3, 3)), output=pieces)
    return pieces
