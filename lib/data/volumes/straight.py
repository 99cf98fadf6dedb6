"""A straight grid for slices that are shifted sideways or unevenly spaced, and the way back to the slices."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_REFINEMENT = 4
"""Largest number of slices of the straight grid per slice of the source."""


class StraightGrid:
    """A grid with right angles and even spacing around a stack of parallel slices.

    Slices are moved in their own planes and interpolated between planes, both linearly. Where the slices are evenly
    spaced, as with a tilted gantry, each slice of the grid is one slice of the source.

    Args:
        shape: Shape of the source, ``(X, Y, Z)``.
        affine: Affine ``(4, 4)`` of the source to RAS+ mm; its first two columns are the axes of a slice.
        origins: Position of the first voxel of each slice, ``(Z, 3)`` in RAS+ mm, in order along the normal.
    Attributes:
        shape: Shape of the grid, ``(X', Y', Z')``.
        affine: Affine ``(4, 4)`` from grid index to RAS+ mm.
        source_shape: Shape of the source.
        source_affine: Affine of the source.
    """

    def __init__(self, shape: tuple[int, ...], affine: NDArray[np.float64], origins: NDArray[np.float64]) -> None:
        self.source_shape, self.source_affine, plane = tuple(shape), affine, affine[:3, :2]
        normal = np.cross(*plane.T)
        normal /= np.linalg.norm(normal) * np.sign(normal @ (origins[-1] - origins[0]))
        self._depth_mm = (origins - origins[0]) @ normal
        shift = np.linalg.lstsq(plane, (origins - origins[0] - np.outer(self._depth_mm, normal)).T, rcond=None)[0]
        low, high = np.floor(shift.min(1)), np.ceil(shift.max(1))
        self._shift = shift.T - low
        """Place of the first voxel of each slice in the planes of the grid, ``(Z, 2)`` in voxels."""
        step_mm = max(float(np.diff(self._depth_mm).min()), self._depth_mm[-1] / (MAX_REFINEMENT * (len(origins) - 1)))
        count = round(self._depth_mm[-1] / step_mm) + 1
        self._step_mm = self._depth_mm[-1] / (count - 1)
        self.shape = (*(int(n + more) for n, more in zip(shape, high - low, strict=False)), count)
        self.affine = np.eye(4)
        self.affine[:3] = np.column_stack([plane, normal * self._step_mm, origins[0] + plane @ low])

    def image(self, voxels: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return source voxels on the grid, float32; outside of the slices it has their lowest value."""
        outside = float(voxels.min())
        result = np.empty(self.shape, np.float32, order="F")
        moved: dict[int, NDArray[np.float32]] = {}
        for index, place in enumerate(self._slice_places()):
            below = min(int(place), len(self._depth_mm) - 2)
            for k in (below, below + 1):
                if k not in moved:
                    moved[k] = self._moved(voxels[..., k], k, outside)
            share = np.float32(place - below)
            result[..., index] = moved[below] if share == 0 else (1 - share) * moved[below] + share * moved[below + 1]
            moved = {k: plane for k, plane in moved.items() if k >= below}
        return result

    def label(self, voxels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a source label on the grid by nearest neighbour; outside of the slices it is 0."""
        result = np.zeros(self.shape, np.uint8, order="F")
        for index, place in enumerate(self._slice_places()):
            k = round(place)
            result[(*self._window(k), index)] = voxels[..., k]
        return result

    def to_slices(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a label on the grid in the shape of the source, by nearest neighbour."""
        result = np.empty(self.source_shape, np.uint8, order="F")
        for k, depth_mm in enumerate(self._depth_mm):
            result[..., k] = label[(*self._window(k), round(depth_mm / self._step_mm))]
        return result

    def points_to_grid(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """Return grid indices ``(n, 3)``, not rounded, of source voxel indices ``(n, 3)``."""
        points = np.asarray(ijk, np.float64).reshape(-1, 3)
        shift, depth_mm = self._at(points[:, 2])
        return np.column_stack([points[:, :2] + shift, depth_mm / self._step_mm])

    def points_to_slices(self, xyz: ArrayLike) -> NDArray[np.float64]:
        """Return source voxel indices ``(n, 3)``, not rounded, of grid indices ``(n, 3)``."""
        points = np.asarray(xyz, np.float64).reshape(-1, 3)
        slices = np.interp(points[:, 2] * self._step_mm, self._depth_mm, np.arange(len(self._depth_mm)))
        return np.column_stack([points[:, :2] - self._at(slices)[0], slices])

    def _slice_places(self) -> list[float]:
        """Return the place of each grid slice among the source slices, not rounded."""
        depths_mm = np.arange(self.shape[2]) * self._step_mm
        places = np.interp(depths_mm, self._depth_mm, np.arange(len(self._depth_mm)))
        return [float(round(place)) if abs(place - round(place)) < 1e-3 else float(place) for place in places]

    def _at(self, slices: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return shift ``(n, 2)`` in voxels and depth ``(n,)`` in mm at source slices that are not rounded."""
        known = np.arange(len(self._depth_mm))
        shift = np.column_stack([np.interp(slices, known, self._shift[:, axis]) for axis in (0, 1)])
        return shift, np.interp(slices, known, self._depth_mm)

    def _window(self, k: int) -> tuple[slice, slice]:
        """Return the part of a grid slice that the source slice `k` covers, to the nearest voxel."""
        first = np.rint(self._shift[k]).astype(int).tolist()
        return slice(first[0], first[0] + self.source_shape[0]), slice(first[1], first[1] + self.source_shape[1])

    def _moved(self, plane: NDArray[np.generic], k: int, outside: float) -> NDArray[np.float32]:
        """Return a source slice on the plane of the grid, float32 ``(X', Y')``."""
        part = plane.astype(np.float32) - np.float32(outside)
        for axis in (0, 1):
            first, share = int(self._shift[k, axis]), np.float32(self._shift[k, axis] % 1)
            wide = np.zeros([self.shape[axis] if d == axis else part.shape[d] for d in (0, 1)], np.float32)
            for start, weight in ((first, 1 - share), (first + 1, share)):
                if weight > 0:
                    place = [slice(start, start + part.shape[axis]) if d == axis else slice(None) for d in (0, 1)]
                    wide[tuple(place)] += weight * part
            part = wide
        return part + np.float32(outside)
