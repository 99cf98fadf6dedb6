"""Place the canonical patient in the scanner by scale, rotation, neck bend and a smooth random deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.phantom.anatomy.canvas import Field

_KNOT_MM = 52.0
_REACH_MM = 416.0
_PIVOT = np.array([0.0, 10.0, -20.0])


@dataclass(frozen=True)
class Pose:
    """A map between world and canonical points, both in mm.

    Attributes:
        rotation: Rotation from canonical to world, ``(3, 3)``.
        scale: Scale from canonical to world per axis, ``(3,)``.
        bend: Forward shift of the lower neck, in mm per mm² below the pivot.
        knots: Displacement of canonical points at the knots of a regular lattice, in mm, ``(3, n, n, n)``.
    """

    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    bend: float
    knots: NDArray[np.float64]

    def to_canonical(self, world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map world points ``(n, 3)`` to canonical ones."""
        points = (world @ self.rotation) / self.scale
        index = ((points + _REACH_MM) / _KNOT_MM).T
        shift = [ndimage.map_coordinates(k, index, order=3, mode="nearest", prefilter=False) for k in self.knots]
        below = np.minimum(points[:, 2] - _PIVOT[2], 0)
        moved = points + np.stack(shift, -1)
        moved[:, 1] += self.bend * below**2
        return moved

    def to_world(self, canonical: NDArray[np.float64], iterations: int = 12) -> NDArray[np.float64]:
        """Map canonical points ``(n, 3)`` to world ones, by fixed-point iteration."""
        world = (canonical * self.scale) @ self.rotation.T
        for _ in range(iterations):
            error = self.to_canonical(world) - canonical
            world = world - (error * self.scale) @ self.rotation.T
        return world


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: at most 15 degrees about each axis, a scale of about 0.8 to 1.2, a deformation of a few mm."""
    angles = np.deg2rad(np.clip(rng.normal(0, [7, 5, 5]), -15, 15))
    size = rng.uniform(0.88, 1.1) if rng.random() < 0.75 else rng.uniform(0.78, 1.2)
    count = int(2 * _REACH_MM / _KNOT_MM) + 1
    strength = rng.uniform(1.0, 4.5)
    return Pose(
        rotation=_rotation(*angles),
        scale=size * rng.uniform(0.94, 1.06, 3),
        bend=float(np.clip(rng.normal(0, 0.00025), -0.0006, 0.0006)),
        knots=rng.normal(0, strength, (3, count, count, count)),
    )


def _rotation(pitch: float, roll: float, yaw: float) -> NDArray[np.float64]:
    def about(axis: int, angle: float) -> NDArray[np.float64]:
        matrix = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        return matrix

    return about(0, pitch) @ about(1, roll) @ about(2, yaw)


def coordinate_lattice(pose: Pose, axes: list[Field]) -> NDArray[np.float64]:
    """Return the canonical coordinates, ``(3, X, Y, Z)``, of the world points on the lattice of three axes."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float64)
    return pose.to_canonical(points).T.reshape(3, *(len(a) for a in axes))
