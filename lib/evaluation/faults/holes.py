"""Find holes: unlabelled voxels that the label encloses and that look like its inside."""

from collections.abc import Iterator

import numpy as np

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import dilate
from lib.evaluation.faults.pieces import box_start, number_pieces, pad_box, pieces_by_size
from lib.evaluation.faults.scene import Scene

MIN_SIMILARITY = 0.75
MIN_HOLE = 10, 12.0
"""Size in voxels and in mm3 (see `Scene.to_voxels`) from which a hole is reported."""


def find_holes(scene: Scene) -> Iterator[Fault]:
    """Yield the cavities of the union of all labels.

    Args:
        scene: Label and image.
    """
    if scene.similarity is None:
        return
    # The rim joins all background into one piece, which is skipped below.
    numbered = number_pieces(np.pad(~(scene.union | scene.ignored), 1, constant_values=True), 6)
    outside = numbered[0, 0, 0]
    numbered = np.ascontiguousarray(numbered[1:-1, 1:-1, 1:-1])
    for number, count, box in pieces_by_size(numbered):
        if number == outside or count < scene.to_voxels(*MIN_HOLE):
            continue
        view = pad_box(box, numbered.shape, 1)
        hole = numbered[view] == number
        if float(scene.similarity[view][hole].mean()) >= MIN_SIMILARITY:
            name = scene.most_frequent_label(scene.label[view][dilate(hole) & ~hole])
            volume_mm3 = count * scene.voxel_mm3
            reason = f"The label has a hole of {volume_mm3:.0f} mm3 where the image looks like its inside."
            place = box_start(view) + np.argwhere(hole).mean(axis=0)
            yield scene.make_fault("HOLE", reason, place, label=name, voxels=count)
