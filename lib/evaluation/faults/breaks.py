"""Find thin breaks: two pieces of the label whose ends face each other across voxels that look like the inside."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, dilate
from lib.evaluation.faults.pieces import Box, Numbered, box_start, number_pieces, pad_box, pieces_by_size
from lib.evaluation.faults.scene import Scene
from lib.evaluation.metrics.crop import bounding_box

MAX_GAP = 6, 7.2
"""Largest gap between two ends, in voxel steps and in mm (see `Scene.to_steps`), that counts as a break."""
MIN_SIMILARITY = 0.55
"""Least similarity of the voxels in a gap. Just outside a correct label a voxel has at most 0.38."""
MIN_PIECE, MIN_LINK = (40, 46.0), (4, 5.0)
"""Least size of a piece and of the link between two pieces, in voxels and in mm3 (see `Scene.to_voxels`)."""
MIN_SAME_VALUE = 0.1
"""Fraction of the label's voxels with the same value from which this value is no padding."""
MAX_PIECES = 60


def find_breaks(scene: Scene) -> Iterator[Fault]:
    """Yield the gaps between pieces of the union of all labels.

    Args:
        scene: Label and image.
    """
    if scene.similarity is None:
        return
    numbered = number_pieces(scene.union | scene.ignored)
    links = np.zeros(numbered.shape, bool)
    larger: set[int] = set()
    for number, count, box in pieces_by_size(numbered)[:MAX_PIECES]:
        if count < scene.to_voxels(*MIN_PIECE):
            break
        view = pad_box(box, numbered.shape, scene.to_steps(*MAX_GAP) + 2)
        near = numbered[view]
        for other in _numbers_in(near) & larger if larger else ():
            links[view] |= _find_links(scene, view, near == number, near == other)
        larger.add(number)
    if not links.any():
        return
    # Three pieces may meet at one break, and a folded lumen gives several links: links that lie close are one break.
    whole = bounding_box(links, 4)
    gathered = number_pieces(dilate(links[whole], 2))
    for number, _, box in pieces_by_size(gathered):
        link = links[whole][box] & (gathered[box] == number)
        start = box_start(whole) + box_start(box)
        yield _make_fault(scene, start, link, scene.label[whole][box], numbered[whole][box])


def _numbers_in(numbered: Numbered) -> set[int]:
    """Return the piece numbers that occur; `np.unique` would sort and take most of the time of the check."""
    return set(np.flatnonzero(np.bincount(numbered.ravel())).tolist())


def _find_links(scene: Scene, view: Box, one: Mask, other: Mask) -> Mask:
    """Return the voxels between two pieces that look like the inside and touch both pieces."""
    across = np.add(*(np.asarray(ndimage.distance_transform_edt(~side)) for side in (one, other)))
    free = ~(scene.union | scene.ignored)[view] & (across <= scene.to_steps(*MAX_GAP) + 1)
    similarity = scene.mean_similarity(free, view)
    numbered = number_pieces(free & (similarity >= MIN_SIMILARITY))
    # Ignored voxels are no end of a piece: it is not known whether the label should continue there.
    ends = [_numbers_in(numbered[dilate(side & scene.union[view])]) for side in (one, other)]
    both = ends[0] & ends[1]
    kept = [
        number
        for number, count, box in pieces_by_size(numbered)
        if count >= scene.to_voxels(*MIN_LINK)
        if number in both and _was_scanned(scene, view, box, numbered[box] == number)
    ]
    links = np.isin(numbered, kept)
    if not links.any():
        return links
    # Extend the link over the whole cross-section of the gap, walls included: its middle should depend on where the
    # lumen is cut and not on how dark the voxels are.
    return dilate(links, 3) & free & (across <= across[links].min() + 1) | links


def _was_scanned(scene: Scene, view: Box, box: Box, link: Mask) -> bool:
    """Return whether the air of a link has more than one value, or a value that is frequent in the label.

    The padding outside the reconstruction circle is as dark as air, but constant, and it is in no label.
    """
    assert scene.similarity is not None
    air = scene.image[view][box][link & (scene.similarity[view][box] >= MIN_SIMILARITY)]
    return len(np.unique(air)) > 1 or float((scene.image[scene.union] == air[0]).mean()) > MIN_SAME_VALUE


def _make_fault(scene: Scene, start: npt.NDArray, link: Mask, label: npt.NDArray, numbered: Numbered) -> Fault:
    ends = dilate(link, 2) & (numbered > 0)
    counts = np.bincount(numbered[ends])[1:]
    one, other = np.argsort(counts)[-2:] + 1
    gap_mm = _gap_mm(scene, ends & (numbered == one), ends & (numbered == other))
    reason = f"The label has a gap of {gap_mm:.1f} mm where the image looks like the inside of the label."
    place = start + np.argwhere(link).mean(axis=0)
    return scene.make_fault("BREAK", reason, place, label=scene.most_frequent_label(label[ends]), gap_mm=gap_mm)


def _gap_mm(scene: Scene, one: Mask, other: Mask) -> float:
    """Return the width of the unlabelled gap in mm: the least distance of two masks, less one step along it."""
    places = [np.argwhere(side) for side in (one, other)]
    found = KDTree(places[0] * scene.spacing_mm).query(places[1] * scene.spacing_mm)
    distances, nearest = (np.asarray(part) for part in found)
    k = int(np.argmin(distances))
    steps = int(np.abs(places[0][nearest[k]] - places[1][k]).max())
    return float(distances[k]) * (steps - 1) / max(steps, 1)
