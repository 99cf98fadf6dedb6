"""Hold a label and its image, cropped to the labelled voxels, and measure how similar each voxel is to the inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.faults.fault import REMEDIES, WARNING, Fault, Point, Voxel
from lib.evaluation.faults.neighbours import Mask, dilate, erode
from lib.evaluation.metrics.crop import bounding_box

IGNORE = 255
MARGIN = 8
"""Margin in voxels around the labelled voxels."""
MIN_INSIDE_VOXELS = 100
MIN_CONTRAST = 2.0
"""Least difference of inside and surroundings, in standard deviations of the noise, for the image to be used."""
Similarity = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """The input of the checks; all arrays are ``(X, Y, Z)`` and cover one box of the file.

    Args:
        label: Label values, 0 background, 255 ignored.
        image: Intensities.
        values: Value of each label by name.
        affine: Voxel index in the file to RAS mm, ``(4, 4)``.
        offset: Voxel index in the file of the first voxel of the box.
    """

    label: npt.NDArray[np.uint8]
    image: npt.NDArray
    values: Mapping[str, int]
    affine: npt.NDArray[np.floating]
    offset: Voxel

    @classmethod
    def crop(
        cls,
        label: npt.NDArray[np.uint8],
        image: npt.NDArray,
        values: Mapping[str, int],
        affine: npt.NDArray[np.floating],
    ) -> "Scene | None":
        """Return the scene of a whole label and its image; None if every voxel is background."""
        box = bounding_box(label != 0, MARGIN)
        if not label[box].size:
            return None
        a, b, c = (side.start for side in box)
        cut = np.ascontiguousarray(label[box]), np.ascontiguousarray(image[box])
        return cls(*cut, values, np.asarray(affine, float), (a, b, c))

    @cached_property
    def union(self) -> Mask:
        """Mask of all labels together, without ignored voxels."""
        return (self.label != 0) & (self.label != IGNORE)

    @cached_property
    def ignored(self) -> Mask:
        """Mask of the voxels with the value `IGNORE`, whose true label is unknown."""
        return self.label == IGNORE

    @cached_property
    def spacing_mm(self) -> npt.NDArray[np.floating]:
        """Voxel spacing, ``(3,)`` in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @cached_property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, in mm3."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    def to_steps(self, minimum: int, mm: float) -> int:
        """Return the number of voxel steps that span a distance in mm, at least `minimum`."""
        return max(minimum, round(mm / self.voxel_mm3 ** (1 / 3)))

    def to_voxels(self, minimum: int, mm3: float) -> int:
        """Return the number of voxels that fill a volume in mm3, at least `minimum`."""
        return max(minimum, round(mm3 / self.voxel_mm3))

    @cached_property
    def similarity(self) -> Similarity | None:
        """Array ``(X, Y, Z)``: how similar each voxel's intensity is to that of the label's interior.

        It is 1 at the median intensity deep inside the label and 0 at that of the voxels around the label, clipped to
        [-0.5, 1.5]; None if the two medians differ too little for the noise.
        """
        return self._similarity_and_noise[0]

    @property
    def noise(self) -> float:
        """Standard deviation of the similarity deep inside the label."""
        return self._similarity_and_noise[1]

    @cached_property
    def _similarity_and_noise(self) -> tuple[Similarity | None, float]:
        # Inside and surroundings are measured on this label, so neither unit nor calibration of the image matters.
        deep = erode(self.union)
        inside = self.image[deep if np.count_nonzero(deep) >= MIN_INSIDE_VOXELS else self.union].astype(np.float32)
        near = dilate(self.union, 2)
        around = self.image[dilate(near, 2) & ~near & ~self.ignored].astype(np.float32)
        if not len(inside) or not len(around):
            return None, 0.0
        inside_level, outside_level = float(np.median(inside)), float(np.median(around))
        noise = 1.4826 * float(np.median(np.abs(inside - inside_level)))
        contrast = abs(outside_level - inside_level)
        if contrast <= max(MIN_CONTRAST * noise, 1e-6):
            return None, 0.0
        scale = np.float32(1 / (inside_level - outside_level))
        similarity = (self.image.astype(np.float32) - np.float32(outside_level)) * scale
        # Clipped, so that bone and metal do not weigh more than soft tissue.
        return np.clip(similarity, -0.5, 1.5, out=similarity), noise / contrast

    def mean_similarity(self, mask: Mask, view: tuple[slice, ...] = ()) -> Similarity:
        """Return the similarity averaged over the voxels of `mask` in each 3 x 3 x 3 block; 0 outside `mask`.

        Args:
            mask: Boolean mask of the box, or of a view into the box.
            view: Slices of the view; empty for the whole box.
        """
        assert self.similarity is not None
        total = ndimage.uniform_filter(np.where(mask, self.similarity[view], np.float32(0)), 3, mode="constant")
        share = ndimage.uniform_filter(mask.astype(np.float32), 3, mode="constant")
        return np.divide(total, share, out=np.zeros_like(total), where=mask)

    def most_frequent_label(self, values: npt.NDArray[np.uint8]) -> str:
        """Return the name of the most frequent label among voxel values, empty if no label occurs."""
        counts = np.bincount(values, minlength=IGNORE + 1)
        named = [name for name in self.values if counts[self.values[name]]]
        return max(named, key=lambda name: counts[self.values[name]], default="")

    def make_fault(
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
            reason: Sentence that says what was found.
            place: Voxel index in the box, ``(3,)``, not rounded.
            label: Name of the label.
            voxels: Number of affected voxels.
            gap_mm: As in `Fault`.
            severity: As in `Fault`.
        """
        i, j, k = (int(index) for index in np.rint(np.asarray(place, float)) + self.offset)
        x, y, z = (
            float(coordinate) for coordinate in np.round(self.affine[:3, :3] @ (i, j, k) + self.affine[:3, 3], 2)
        )
        voxel: Voxel = (i, j, k)
        ras_mm: Point = (x, y, z)
        return Fault(
            code=code,
            reason=reason,
            remedy=REMEDIES[code],
            severity=severity,
            label=label,
            voxel=voxel,
            ras_mm=ras_mm,
            volume_mm3=None if voxels is None else round(voxels * self.voxel_mm3, 2),
            gap_mm=None if gap_mm is None else round(gap_mm, 2),
        )
