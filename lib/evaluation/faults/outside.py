"""What is labelled outside the body, on a CT."""

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.data.volumes.body import BODY_ABOVE_HU, STEP_MM
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, grow, shrink
from lib.evaluation.faults.pieces import box_start, boxes, pieces
from lib.evaluation.faults.scene import Scene

CLOSED, SLACK = 2, 2
"""Steps of `STEP_MM` over which nostrils and mouth are closed, and by which a label may leave the body unseen."""
LEAST_MM3 = 100.0


def outside_body(scene: Scene, image: npt.NDArray) -> Iterator[Fault]:
    """Yield pieces of the label that lie beyond the skin by more than some steps.

    Args:
        scene: Label and image.
        image: Hounsfield units of the whole volume, ``(X, Y, Z)``.
    """
    steps = np.maximum(1, np.rint(STEP_MM / scene.spacing_mm).astype(int))
    tissue = image[:: steps[0], :: steps[1], :: steps[2]] > BODY_ABOVE_HU
    if not tissue.any():
        return
    body = grow(_filled(cc3d.largest_k(tissue, k=1, connectivity=6, binary_image=True).astype(bool)), SLACK)
    rows = [
        np.minimum((np.arange(size) + first + step // 2) // step, last - 1)
        for size, first, step, last in zip(scene.label.shape, scene.offset, steps, body.shape, strict=True)
    ]
    numbered = pieces(scene.union & ~body[np.ix_(*rows)])
    for number, count, box in boxes(numbered):
        if count * scene.voxel_mm3 < LEAST_MM3:
            return
        piece = numbered[box] == number
        reason = f"{count * scene.voxel_mm3:.0f} mm3 lie outside the body."
        place = box_start(box) + np.argwhere(piece).mean(axis=0)
        name = scene.name_of(scene.label[box][piece])
        yield scene.fault("OUTSIDE_BODY", reason, place, label=name, voxels=count)


def _filled(tissue: Mask) -> Mask:
    """Return a body with the air in it: in every plane of the grid, what tissue encloses once its gaps are closed."""
    closed = shrink(grow(np.pad(tissue, CLOSED), CLOSED), CLOSED)[(slice(CLOSED, -CLOSED),) * 3] | tissue
    filled = closed.copy()
    for axis in range(3):
        planes, into = np.moveaxis(closed, axis, 0), np.moveaxis(filled, axis, 0)
        for plane, out in zip(planes, into, strict=True):
            out |= ndimage.binary_fill_holes(plane)
    return filled
