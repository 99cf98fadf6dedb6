"""Thin breaks: two pieces of the label that face each other across voxels which look like its inside."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, grow
from lib.evaluation.faults.pieces import Box, Numbered, box_start, boxes, padded, pieces
from lib.evaluation.faults.scene import Scene

GAP_VOXELS = 6
"""Widest gap that is a break and not an end."""
ALIKE = 0.55
"""Likeness of what was left out: beyond a right label a voxel is 0.38 at most, and less where something is closed."""
WALL = 0.35
"""Likeness of a voxel at the rim of what was left out."""
LEAST_PIECE, LEAST_LINK = 40, 4
"""Voxels of the smallest piece that is looked at, and of the smallest link between two."""
MAX_PIECES = 60


def breaks(scene: Scene) -> Iterator[Fault]:
    """Yield the gaps between pieces of all labels together.

    Args:
        scene: Label and image.
    """
    if scene.likeness is None:
        return
    numbered = pieces(scene.union | scene.ignored)
    links = np.zeros(numbered.shape, bool)
    larger: set[int] = set()
    for number, count, box in boxes(numbered)[:MAX_PIECES]:
        if count < LEAST_PIECE:
            break
        view = padded(box, numbered.shape, GAP_VOXELS + 2)
        near = numbered[view]
        for other in larger.intersection(np.unique(near).tolist()):
            links[view] |= _links(scene, view, near == number, near == other)
        larger.add(number)
    # Three pieces may meet at one break, and a lumen that folds shows as several links.
    gathered = pieces(grow(links, 2))
    for number, _, box in boxes(gathered):
        yield _told(scene, box, links[box] & (gathered[box] == number), numbered[box])


def _links(scene: Scene, view: Box, one: Mask, other: Mask) -> Mask:
    """Return the voxels between two pieces that look like their inside, and touch both."""
    across = sum(np.asarray(ndimage.distance_transform_edt(~side)) for side in (one, other))
    free = ~(scene.union | scene.ignored)[view] & (across <= GAP_VOXELS + 1)
    like = scene.mean_likeness(free, view)
    numbered = pieces(free & (like >= ALIKE))
    beside = [set(np.unique(numbered[grow(side)]).tolist()) for side in (one, other)]
    kept = [n for n, count, _ in boxes(numbered) if count >= LEAST_LINK and n in beside[0] and n in beside[1]]
    return grow(np.isin(numbered, kept)) & free & (like >= WALL)


def _told(scene: Scene, box: Box, link: Mask, numbered: Numbered) -> Fault:
    ends = grow(link, 2) & (numbered > 0)
    found = np.bincount(numbered[ends])[1:]
    one, other = np.argsort(found)[-2:] + 1
    gap_mm = _apart_mm(scene, ends & (numbered == one), ends & (numbered == other))
    reason = f"The label is broken over {gap_mm:.1f} mm, where the image shows the inside."
    place = box_start(box) + np.argwhere(link).mean(axis=0)
    return scene.fault("BREAK", reason, place, label=scene.name_of(scene.label[box][ends]), gap_mm=gap_mm)


def _apart_mm(scene: Scene, one: Mask, other: Mask) -> float:
    """Return the least distance of two masks, less one voxel: what is not labelled."""
    places = [np.argwhere(side) * scene.spacing_mm for side in (one, other)]
    far, _ = cKDTree(places[0]).query(places[1])
    return max(float(np.min(far)) - float(scene.spacing_mm.min()), 0.0)
