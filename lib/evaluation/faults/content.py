"""Parts of a label that the image contradicts: leaks, spurs, bridges and islands in what is not the organ.

Every voxel of a right label lies beside one that looks like the inside of the label, thin passages
included. What lies farther away was drawn into something else. How it hangs on the rest says what it is.
"""

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import euler_number

from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, grow
from lib.evaluation.faults.pieces import Box, box_start, boxes, padded, pieces
from lib.evaluation.faults.scene import Likeness, Scene

ALIKE = 0.3
"""Likeness from which a voxel looks like the inside: a wall voxel of an airway is 0.38 air by the usual threshold."""
UNLIKE = 0.15
"""Mean likeness of what is surely not the inside: fat beside an airway is 0.14 by its Hounsfield units."""
LITTLE_NOISE = 0.06
"""Standard deviation of the likeness up to which a voxel's own value is taken, and no mean around it."""
REACH = 1, 1.2
"""Steps, or mm, within which a wall may be drawn too wide."""
SPECK, LEAST, LARGE = (12, 14.0), (5, 6.0), (20, 24.0)
"""Voxels, or mm3, of a patch that looks right, or lies apart, by chance; of the smallest remainder that is told; and of
a thick one that is told by its own likeness alone."""
STANDS_OUT = 0.05
"""By how much more than what is beside it a small or thin remainder may look like the inside."""
LEAK_MM = 3.0
"""Inscribed radius from which a remainder is a leak and no spur."""
REASONS = {
    "LOOP": "A bridge of {volume} closes a loop, where the image shows something else.",
    "JOINED": "A bridge of {volume} joins two parts, where the image shows something else.",
    "ISLAND": "A piece of {volume} lies apart, where the image shows something else.",
    "LEAK": "{volume} lie beyond the wall, where the image shows something else.",
    "SPUR": "A thin spur of {volume} runs beyond the wall, where the image shows something else.",
}


def contradicted(scene: Scene) -> Iterator[Fault]:
    """Yield what was drawn into something else.

    Args:
        scene: Label and image.
    """
    if scene.likeness is None:
        return
    alike = scene.likeness if scene.noise <= LITTLE_NOISE else scene.mean_likeness(scene.union)
    right = scene.union & (alike >= ALIKE)
    right = cc3d.dust(right, threshold=scene.count(*SPECK), connectivity=26).astype(bool)
    reach = scene.steps(*REACH)
    wrong = scene.union & ~_reached(right, scene.union, reach)
    if not wrong.any():
        return
    numbered = pieces(wrong)
    for number, count, box in boxes(numbered):
        if count < scene.count(*LEAST):
            return
        view = padded(box, wrong.shape, reach + 3)
        core = numbered[view] == number
        if _is_wrong(scene, view, core, count):
            # Its ends, which lie beside the rest of the label.
            whole = _reached(core, scene.union[view] & (alike[view] <= UNLIKE), reach)
            code = _kind(scene, view, core, whole)
            if code != "ISLAND" or np.count_nonzero(whole) >= scene.count(*SPECK):
                yield _told(scene, view, whole, code)


def _is_wrong(scene: Scene, view: Box, core: Mask, count: int) -> bool:
    """Say whether a remainder is surely not the inside; a small or thin one must look like what is beside it."""
    assert scene.likeness is not None
    like = scene.likeness[view]
    airy = np.maximum(like, 0)
    found = float(airy[core].mean())
    if found > UNLIKE:
        return False
    thick, large = _is_thick(core), count >= scene.count(*LARGE)
    if thick and large:
        return True
    # A brush leaves something thick, or a stroke; a fold of the organ leaves a sheet in a coarse scan, with some air.
    straight = count <= int(np.ptp(np.argwhere(core), axis=0).max()) + 1
    if not (thick or straight) and (not large or found > STANDS_OUT + scene.noise / 2):
        return False
    beside = grow(core) & ~scene.union[view] & ~scene.ignored[view]
    # What lies beside more of the label is half air itself.
    alone = beside & ~grow((scene.union | scene.ignored)[view] & ~core)
    beside = alone if alone.any() else beside
    if not beside.any():
        return False
    # A passage thinner than a voxel is faint in a blurred scan, between bones all the more, and yet it stands out. A
    # straight stroke is hardly one, though it may run along the edge of a bone.
    least = (1.5 if straight else 1) * STANDS_OUT + scene.noise / 2
    # Marrow stands out of bone, too; a passage holds some air.
    return _over(like, core, beside) <= least or _over(airy, core, beside) <= STANDS_OUT / 2


def _is_thick(mask: Mask) -> bool:
    """Say whether a mask holds a voxel with its six neighbours, or a cube of eight."""
    return any(
        bool(ndimage.binary_erosion(mask, brush, border_value=0).any()) for brush in (None, np.ones((2, 2, 2), bool))
    )


def _over(like: Likeness, one: Mask, other: Mask) -> float:
    return float(like[one].mean() - like[other].mean())


def _told(scene: Scene, view: Box, whole: Mask, code: str) -> Fault:
    count = int(np.count_nonzero(whole))
    reason = REASONS[code].format(volume=f"{count * scene.voxel_mm3:.0f} mm3")
    name = scene.name_of(scene.label[view][whole])
    return scene.fault(code, reason, box_start(view) + _middle(whole), label=name, voxels=count)


def _reached(start: Mask, within: Mask, reach: int) -> Mask:
    """Return the voxels of a mask that so many steps inside it lead to."""
    for _ in range(reach):
        start = start | (grow(start) & within)
    return start


def _bridges(union: Mask, whole: Mask) -> int:
    """Return how many ways through a part are lost with it: 0 of a dead end, 1 of a bridge, -1 of an island.

    Of components, loops and cavities the Euler characteristic counts the sum, and from the neighbourhood alone.
    """
    without, with_it = (int(euler_number(np.pad(mask, 1), connectivity=3)) for mask in (union & ~whole, union))
    return without - with_it


def _kind(scene: Scene, view: Box, core: Mask, whole: Mask) -> str:
    beside = grow(whole) & scene.union[view] & ~whole
    if not beside.any():
        return "ISLAND"
    # Without its ends, with which faint parts of the label itself may go.
    if _bridges(scene.union[view], core) > 0:
        rest = scene.union.copy()
        rest[view] &= ~core
        numbered = pieces(rest)
        sizes = np.bincount(numbered.ravel())[np.unique(numbered[view][grow(core) & scene.union[view] & ~core])]
        return "JOINED" if np.count_nonzero(sizes >= scene.count(*SPECK)) > 1 else "LOOP"
    radius_mm = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=scene.spacing_mm)
    assert isinstance(radius_mm, np.ndarray)
    return "LEAK" if float(radius_mm.max()) > LEAK_MM else "SPUR"


def _middle(mask: Mask) -> npt.NDArray[np.int64]:
    """Return the voxel of a mask next to its centre of mass: of a curved one the centre may lie outside."""
    places = np.argwhere(mask)
    return places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
