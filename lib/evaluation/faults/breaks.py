"""Thin breaks: two pieces of the label that face each other across voxels which look like its inside."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, grow
from lib.evaluation.faults.pieces import Box, Numbered, box_start, boxes, padded, pieces
from lib.evaluation.faults.scene import Scene
from lib.evaluation.metrics.crop import bounding_box

GAP = 6, 7.2
"""Steps, or mm, of the widest gap that is a break and not an end."""
ALIKE = 0.55
"""Likeness of what was left out: beyond a right label a voxel is 0.38 at most, and less where something is closed."""
LEAST_PIECE, LEAST_LINK = (40, 46.0), (4, 5.0)
"""Voxels, or mm3, of the smallest piece that is looked at, and of the smallest link between two."""
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
        if count < scene.count(*LEAST_PIECE):
            break
        view = padded(box, numbered.shape, scene.steps(*GAP) + 2)
        near = numbered[view]
        for other in _present(near) & larger if larger else ():
            links[view] |= _links(scene, view, near == number, near == other)
        larger.add(number)
    if not links.any():
        return
    # Three pieces may meet at one break, and a lumen that folds shows as several links.
    whole = bounding_box(links, 4)
    gathered = pieces(grow(links[whole], 2))
    for number, _, box in boxes(gathered):
        link = links[whole][box] & (gathered[box] == number)
        yield _told(scene, box_start(whole) + box_start(box), link, scene.label[whole][box], numbered[whole][box])


def _present(numbered: Numbered) -> set[int]:
    """Return the numbers of pieces; sorting them, as numpy does, takes most of a check's time."""
    return set(np.flatnonzero(np.bincount(numbered.ravel())).tolist())


def _links(scene: Scene, view: Box, one: Mask, other: Mask) -> Mask:
    """Return the voxels between two pieces that look like their inside, and touch both."""
    across = np.add(*(np.asarray(ndimage.distance_transform_edt(~side)) for side in (one, other)))
    free = ~(scene.union | scene.ignored)[view] & (across <= scene.steps(*GAP) + 1)
    like = scene.mean_likeness(free, view)
    numbered = pieces(free & (like >= ALIKE))
    # Of what is ignored nothing is known, and so not that it should go on in the label either.
    ends = [_present(numbered[grow(side & scene.union[view])]) for side in (one, other)]
    both = ends[0] & ends[1]
    kept = [
        number
        for number, count, box in boxes(numbered)
        if count >= scene.count(*LEAST_LINK)
        if number in both and _was_scanned(scene, view, box, numbered[box] == number)
    ]
    links = np.isin(numbered, kept)
    if not links.any():
        return links
    # As wide as the gap is there, its walls too: where the lumen is cut decides, and not how dark it is.
    return grow(links, 3) & free & (across <= across[links].min() + 1) | links


def _was_scanned(scene: Scene, view: Box, box: Box, link: Mask) -> bool:
    """Say whether a link's air has more than one value; padding beyond a scanner's circle is as dark and has one."""
    assert scene.likeness is not None
    air = link & (scene.likeness[view][box] >= ALIKE)
    return len(np.unique(scene.image[view][box][air])) > 1


def _told(scene: Scene, start: npt.NDArray, link: Mask, label: npt.NDArray, numbered: Numbered) -> Fault:
    ends = grow(link, 2) & (numbered > 0)
    found = np.bincount(numbered[ends])[1:]
    one, other = np.argsort(found)[-2:] + 1
    gap_mm = _apart_mm(scene, ends & (numbered == one), ends & (numbered == other))
    reason = f"The label is broken over {gap_mm:.1f} mm, where the image shows the inside."
    place = start + np.argwhere(link).mean(axis=0)
    return scene.fault("BREAK", reason, place, label=scene.name_of(label[ends]), gap_mm=gap_mm)


def _apart_mm(scene: Scene, one: Mask, other: Mask) -> float:
    """Return the least distance of two masks, less one voxel: what is not labelled."""
    places = [np.argwhere(side) * scene.spacing_mm for side in (one, other)]
    far, _ = KDTree(places[0]).query(places[1])
    return max(float(np.min(far)) - float(scene.spacing_mm.min()), 0.0)
