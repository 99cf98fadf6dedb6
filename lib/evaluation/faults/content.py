"""Find parts of a label that the image contradicts: leaks, spurs, bridges and islands drawn into other tissue.

In a correct label every voxel is a neighbour of a voxel that looks like the inside, in thin passages as well. A
labelled voxel farther away was drawn into other tissue. The connections of such a part to the label give its code.
"""

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import euler_number

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, dilate
from lib.evaluation.faults.pieces import Box, box_start, number_pieces, pad_box, pieces_by_size
from lib.evaluation.faults.scene import Scene, Similarity

MIN_INSIDE = 0.3
"""Similarity from which a voxel looks like the inside. An airway's wall voxel at the usual threshold has 0.38."""
MAX_OUTSIDE = 0.15
"""Largest mean similarity of a part that is surely not the inside. Fat beside an airway has 0.14."""
LOW_NOISE = 0.06
"""Standard deviation of the similarity up to which the voxel's own value is used; above it, a local mean."""
REACH = 1, 1.2
"""Distance, in voxel steps and in mm (see `Scene.to_steps`), by which a wall may be drawn too wide."""
MAX_SPECK, MIN_PART, LARGE_PART = (12, 14.0), (5, 6.0), (20, 24.0)
"""Sizes in voxels and in mm3 (see `Scene.to_voxels`): of a patch that noise alone may produce; of the smallest part
that is reported; of a thick part whose own similarity is enough to report it."""
CONTRAST = 0.05
"""Difference in similarity to the surroundings above which a small or thin part may be a real passage."""
LEAK_MM = 3.0
"""Inscribed radius in mm above which a part is a leak and not a spur."""
REASONS = {
    "LOOP": "A bridge of {volume} closes a loop, but the image does not look like the inside of the label there.",
    "JOINED": "A bridge of {volume} joins two parts, but the image does not look like the inside of the label there.",
    "ISLAND": "A separate piece of {volume} lies where the image does not look like the inside of the label.",
    "LEAK": "{volume} lie beyond the wall, where the image does not look like the inside of the label.",
    "SPUR": "A thin spur of {volume} crosses the wall, where the image does not look like the inside of the label.",
}


def find_contradictions(scene: Scene) -> Iterator[Fault]:
    """Yield the parts of the label that were drawn into other tissue.

    Args:
        scene: Label and image.
    """
    if scene.similarity is None:
        return
    similarity = scene.similarity if scene.noise <= LOW_NOISE else scene.mean_similarity(scene.union)
    right = scene.union & (similarity >= MIN_INSIDE)
    right = cc3d.dust(right, threshold=scene.to_voxels(*MAX_SPECK), connectivity=26).astype(bool)
    reach = scene.to_steps(*REACH)
    wrong = scene.union & ~_dilate_within(right, scene.union, reach)
    if not wrong.any():
        return
    numbered = number_pieces(wrong)
    for number, count, box in pieces_by_size(numbered):
        if count < scene.to_voxels(*MIN_PART):
            return
        view = pad_box(box, wrong.shape, reach + 3)
        core = numbered[view] == number
        if _is_wrong(scene, view, core, count):
            # Add the ends of the part, which lie beside the rest of the label.
            whole = _dilate_within(core, scene.union[view] & (similarity[view] <= MAX_OUTSIDE), reach)
            code = _classify(scene, view, core, whole)
            if code != "ISLAND" or np.count_nonzero(whole) >= scene.to_voxels(*MAX_SPECK):
                yield _make_fault(scene, view, whole, code)


def _is_wrong(scene: Scene, view: Box, core: Mask, count: int) -> bool:
    """Return whether a part is surely not the inside; a small or thin part must also look like its surroundings."""
    assert scene.similarity is not None
    similarity = scene.similarity[view]
    positive = np.maximum(similarity, 0)
    mean = float(positive[core].mean())
    if mean > MAX_OUTSIDE:
        return False
    thick, large = _is_thick(core), count >= scene.to_voxels(*LARGE_PART)
    if thick and large:
        return True
    # A brush leaves a thick part or a straight stroke. A fold of the organ in a coarse scan is a sheet with some air.
    straight = count <= int(np.ptp(np.argwhere(core), axis=0).max()) + 1
    if not (thick or straight) and (not large or mean > CONTRAST + scene.noise / 2):
        return False
    beside = dilate(core) & ~scene.union[view] & ~scene.ignored[view]
    # Prefer neighbours that touch no other part of the label: the others are partly air themselves.
    alone = beside & ~dilate((scene.union | scene.ignored)[view] & ~core)
    beside = alone if alone.any() else beside
    if not beside.any():
        return False
    # A passage thinner than a voxel is faint in a blurred scan, but still differs from its surroundings, most of all
    # between bones. A straight stroke is rarely a passage, though it may follow the edge of a bone.
    minimum = (1.5 if straight else 1) * CONTRAST + scene.noise / 2
    # Marrow differs from bone as well, so the second test uses air alone: a passage holds some air.
    return (
        _mean_difference(similarity, core, beside) <= minimum
        or _mean_difference(positive, core, beside) <= CONTRAST / 2
    )


def _is_thick(mask: Mask) -> bool:
    """Return whether a mask holds a voxel together with its six neighbours, or a cube of eight voxels."""
    return any(
        bool(ndimage.binary_erosion(mask, brush, border_value=0).any()) for brush in (None, np.ones((2, 2, 2), bool))
    )


def _mean_difference(similarity: Similarity, one: Mask, other: Mask) -> float:
    return float(similarity[one].mean() - similarity[other].mean())


def _make_fault(scene: Scene, view: Box, whole: Mask, code: str) -> Fault:
    count = int(np.count_nonzero(whole))
    reason = REASONS[code].format(volume=f"{count * scene.voxel_mm3:.0f} mm3")
    name = scene.most_frequent_label(scene.label[view][whole])
    return scene.make_fault(code, reason, box_start(view) + _central_voxel(whole), label=name, voxels=count)


def _dilate_within(start: Mask, within: Mask, steps: int) -> Mask:
    """Return the voxels of `within` that `steps` steps inside it reach from `start`, and `start` itself."""
    for _ in range(steps):
        start = start | (dilate(start) & within)
    return start


def _bridge_count(union: Mask, whole: Mask) -> int:
    """Return how many connections the union loses without `whole`: 0 for a dead end, 1 for a bridge, -1 for an island.

    The difference of the Euler characteristics, which sums over components, loops and cavities, gives this number from
    the neighbourhood alone.
    """
    without, with_it = (int(euler_number(np.pad(mask, 1), connectivity=3)) for mask in (union & ~whole, union))
    return without - with_it


def _classify(scene: Scene, view: Box, core: Mask, whole: Mask) -> str:
    beside = dilate(whole) & scene.union[view] & ~whole
    if not beside.any():
        return "ISLAND"
    # Without the ends of the part: they may include faint voxels of the label itself.
    if _bridge_count(scene.union[view], core) > 0:
        rest = scene.union.copy()
        rest[view] &= ~core
        numbered = number_pieces(rest)
        sizes = np.bincount(numbered.ravel())[np.unique(numbered[view][dilate(core) & scene.union[view] & ~core])]
        return "JOINED" if np.count_nonzero(sizes >= scene.to_voxels(*MAX_SPECK)) > 1 else "LOOP"
    radius_mm = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=scene.spacing_mm)
    assert isinstance(radius_mm, np.ndarray)
    return "LEAK" if float(radius_mm.max()) > LEAK_MM else "SPUR"


def _central_voxel(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the voxel of a mask nearest to its centre of mass, which may lie outside a curved mask."""
    places = np.argwhere(mask)
    return places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
