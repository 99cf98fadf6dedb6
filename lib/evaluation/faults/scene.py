"""A label and its image, cut to what is labelled, and how much each voxel looks like the inside of the label."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.faults.fault import REMEDIES, WARNING, Fault, Point, Voxel
from lib.evaluation.faults.neighbours import Mask, grow, shrink
from lib.evaluation.metrics.crop import bounding_box

IGNORE = 255
MARGIN = 8
"""Voxels around what is labelled that are looked at."""
LEAST_INSIDE = 100
LEAST_CONTRAST = 2.0
"""Standard deviations of the noise by which inside and outside must differ for the image to say anything."""
Likeness = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """What the checks look at, all arrays ``(X, Y, Z)`` of one box.

    Args:
        label: Label values.
        image: Intensities.
        values: Value of each label by name.
        affine: ``(4, 4)``, voxel of the file to RAS mm.
        offset: First voxel of the box in the file.
    """

    label: npt.NDArray[np.uint8]
    image: npt.NDArray
    values: Mapping[str, int]
    affine: npt.NDArray[np.floating]
    offset: Voxel

    @classmethod
    def around(
        cls,
        label: npt.NDArray[np.uint8],
        image: npt.NDArray,
        values: Mapping[str, int],
        affine: npt.NDArray[np.floating],
    ) -> "Scene | None":
        """Return the scene of a whole label and its image, None if nothing is labelled."""
        box = bounding_box(label != 0, MARGIN)
        if not label[box].size:
            return None
        a, b, c = (side.start for side in box)
        cut = np.ascontiguousarray(label[box]), np.ascontiguousarray(image[box])
        return cls(*cut, values, np.asarray(affine, float), (a, b, c))

    @cached_property
    def union(self) -> Mask:
        """All labels together, without voxels to ignore."""
        return (self.label != 0) & (self.label != IGNORE)

    @cached_property
    def ignored(self) -> Mask:
        """Voxels of which nothing is known."""
        return self.label == IGNORE

    @cached_property
    def spacing_mm(self) -> npt.NDArray[np.floating]:
        """Distance of the voxels along each axis."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @cached_property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    def steps(self, least: int, mm: float) -> int:
        """Return the steps from voxel to voxel that make some mm, `least` of them in any case."""
        return max(least, round(mm / self.voxel_mm3 ** (1 / 3)))

    def count(self, least: int, mm3: float) -> int:
        """Return the voxels that make a volume, `least` of them in any case."""
        return max(least, round(mm3 / self.voxel_mm3))

    @cached_property
    def likeness(self) -> Likeness | None:
        """1 where the image is as deep inside the label, 0 as around it; None where noise hides the difference."""
        return self._measured[0]

    @property
    def noise(self) -> float:
        """Standard deviation of the likeness deep inside."""
        return self._measured[1]

    @cached_property
    def _measured(self) -> tuple[Likeness | None, float]:
        # The label's own inside and surroundings say what is what: no unit, and no calibration, is believed.
        deep = shrink(self.union)
        inside = self.image[deep if np.count_nonzero(deep) >= LEAST_INSIDE else self.union].astype(np.float32)
        near = grow(self.union, 2)
        around = self.image[grow(near, 2) & ~near & ~self.ignored].astype(np.float32)
        if not len(inside) or not len(around):
            return None, 0.0
        within, beyond = float(np.median(inside)), float(np.median(around))
        noise = 1.4826 * float(np.median(np.abs(inside - within)))
        if abs(beyond - within) <= max(LEAST_CONTRAST * noise, 1e-6):
            return None, 0.0
        like = (self.image.astype(np.float32) - np.float32(beyond)) * np.float32(1 / (within - beyond))
        # Bone and metal are no more unlike air than soft tissue is.
        return np.clip(like, -0.5, 1.5, out=like), noise / abs(within - beyond)

    def mean_likeness(self, mask: Mask, view: tuple[slice, ...] = ()) -> Likeness:
        """Return the mean likeness of the voxels of `mask` among each one's 27, against noise; 0 beyond `mask`.

        Args:
            mask: Boolean mask of the box, or of a view into it.
            view: That view; empty for the whole box.
        """
        assert self.likeness is not None
        total = ndimage.uniform_filter(np.where(mask, self.likeness[view], np.float32(0)), 3, mode="constant")
        share = ndimage.uniform_filter(mask.astype(np.float32), 3, mode="constant")
        return np.divide(total, share, out=np.zeros_like(total), where=mask)

    def name_of(self, values: npt.NDArray[np.uint8]) -> str:
        """Return the label that most of the voxels have, empty if none has."""
        counts = np.bincount(values, minlength=IGNORE + 1)
        named = [name for name in self.values if counts[self.values[name]]]
        return max(named, key=lambda name: counts[self.values[name]], default="")

    def fault(
        self,
        code: str,
        reason: str,
        place: npt.ArrayLike,
        *,
        label: str,
        voxels: int | None = None,
        gap_mm: float | None = None,
        severity: str = WARNING,
    ) -> Fault:
        """Return a finding at an index of the box.

        Args:
            code: A key of `REMEDIES`.
            reason: What was found.
            place: Index in the box, not rounded, three numbers.
            label: Name of the label.
            voxels: How many it concerns.
            gap_mm: As `Fault` has it.
            severity: As `Fault` has it.
        """
        i, j, k = (int(each) for each in np.rint(np.asarray(place, float)) + self.offset)
        x, y, z = (float(each) for each in np.round(self.affine[:3, :3] @ (i, j, k) + self.affine[:3, 3], 2))
        where: tuple[Voxel, Point] = (i, j, k), (x, y, z)
        return Fault(
            code=code,
            reason=reason,
            remedy=REMEDIES[code],
            severity=severity,
            label=label,
            voxel=where[0],
            ras_mm=where[1],
            volume_mm3=None if voxels is None else round(voxels * self.voxel_mm3, 2),
            gap_mm=None if gap_mm is None else round(gap_mm, 2),
        )
