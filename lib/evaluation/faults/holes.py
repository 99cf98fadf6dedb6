"""Holes: voxels enclosed in the label that look like its inside."""

from collections.abc import Iterator

import numpy as np

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import grow
from lib.evaluation.faults.pieces import box_start, boxes, padded, pieces
from lib.evaluation.faults.scene import Scene

ALIKE = 0.75
LEAST = 10, 12.0
"""Voxels, or mm3, of the smallest hole that is told."""


def holes(scene: Scene) -> Iterator[Fault]:
    """Yield the cavities of all labels together.

    Args:
        scene: Label and image.
    """
    if scene.likeness is None:
        return
    # A rim makes what is outside one piece, the largest; it is dropped with it.
    numbered = pieces(np.pad(~(scene.union | scene.ignored), 1, constant_values=True), 6)
    outside = numbered[0, 0, 0]
    numbered = np.ascontiguousarray(numbered[1:-1, 1:-1, 1:-1])
    for number, count, box in boxes(numbered):
        if number == outside or count < scene.count(*LEAST):
            continue
        view = padded(box, numbered.shape, 1)
        hole = numbered[view] == number
        if float(scene.likeness[view][hole].mean()) >= ALIKE:
            name = scene.name_of(scene.label[view][grow(hole) & ~hole])
            reason = f"A hole of {count * scene.voxel_mm3:.0f} mm3, where the image shows the inside."
            place = box_start(view) + np.argwhere(hole).mean(axis=0)
            yield scene.fault("HOLE", reason, place, label=name, voxels=count)
