"""Find labelled voxels outside the body, on a CT."""

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.data.volumes.body import BODY_ABOVE_HU, STEP_MM
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, dilate, erode
from lib.evaluation.faults.pieces import box_start, number_pieces, pieces_by_size
from lib.evaluation.faults.scene import Scene

CLOSING, TOLERANCE = 2, 2
"""Steps of `STEP_MM`: of the closing of nostrils and mouth, and by which a label may leave the body unreported."""
MIN_MM3 = 100.0


def find_outside_body(scene: Scene, image: npt.NDArray) -> Iterator[Fault]:
    """Yield the pieces of the label that lie more than `TOLERANCE` steps outside the skin.

    Args:
        scene: Label and image.
        image: Whole CT in HU, ``(X, Y, Z)``.
    """
    steps = np.maximum(1, np.rint(STEP_MM / scene.spacing_mm).astype(int))
    tissue = image[:: steps[0], :: steps[1], :: steps[2]] > BODY_ABOVE_HU
    if not tissue.any():
        return
    body = dilate(_filled(cc3d.largest_k(tissue, k=1, connectivity=6, binary_image=True).astype(bool)), TOLERANCE)
    rows = [
        np.minimum((np.arange(size) + first + step // 2) // step, last - 1)
        for size, first, step, last in zip(scene.label.shape, scene.offset, steps, body.shape, strict=True)
    ]
    numbered = number_pieces(scene.union & ~body[np.ix_(*rows)])
    for number, count, box in pieces_by_size(numbered):
        if count * scene.voxel_mm3 < MIN_MM3:
            return
        piece = numbered[box] == number
        reason = f"{count * scene.voxel_mm3:.0f} mm3 of the label lie outside the body."
        place = box_start(box) + np.argwhere(piece).mean(axis=0)
        name = scene.most_frequent_label(scene.label[box][piece])
        yield scene.make_fault("OUTSIDE_BODY", reason, place, label=name, voxels=count)


def _filled(tissue: Mask) -> Mask:
    """Return tissue with the air inside the body: closed, then filled plane by plane along each axis."""
    closed = erode(dilate(np.pad(tissue, CLOSING), CLOSING), CLOSING)[(slice(CLOSING, -CLOSING),) * 3] | tissue
    filled = closed.copy()
    for axis in range(3):
        planes, out_planes = np.moveaxis(closed, axis, 0), np.moveaxis(filled, axis, 0)
        for plane, out in zip(planes, out_planes, strict=True):
            out |= ndimage.binary_fill_holes(plane)
    return filled
