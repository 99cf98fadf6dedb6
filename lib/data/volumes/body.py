"""Find the bounding box of the body in a CT, on a coarse grid of voxels."""

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

BODY_ABOVE_HU = -300.0
STEP_MM = 4.0
"""Distance of the examined voxels. A body is much larger, and there are hundreds of times fewer voxels to examine."""

Box = tuple[slice, slice, slice]


def body_box(voxels: NDArray[Any], spacing_mm: NDArray[Any], margin_mm: float) -> Box | None:
    """Return the bounding box of the largest connected component of tissue.

    Args:
        voxels: Hounsfield units, ``(X, Y)`` or ``(X, Y, Z)``.
        spacing_mm: Voxel spacing along the three axes of the file, in mm.
        margin_mm: Margin around the body, in mm; a network needs some air to separate it from tissue.
    Returns:
        Three slices, one per axis, within the volume; None if there is no tissue.
    """
    volume = voxels if voxels.ndim == 3 else voxels[..., None]
    steps = np.maximum(1, np.rint(STEP_MM / np.asarray(spacing_mm, np.float64)).astype(int))
    tissue = volume[:: steps[0], :: steps[1], :: steps[2]] > BODY_ABOVE_HU
    pieces = cc3d.connected_components(np.ascontiguousarray(tissue), connectivity=6)
    found = cc3d.statistics(pieces)
    counts = np.asarray(found["voxel_counts"])
    if len(counts) < 2:
        return None
    box = found["bounding_boxes"][int(counts[1:].argmax()) + 1]
    reach = np.ceil(margin_mm / np.asarray(spacing_mm)).astype(int) + steps - 1
    x, y, z = (
        slice(max(0, int(side.start * step - more)), min(size, int((side.stop - 1) * step + more + 1)))
        for side, step, more, size in zip(box, steps, reach, volume.shape, strict=True)
    )
    return x, y, z
