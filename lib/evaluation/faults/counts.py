"""Betti numbers against what the app expects of a label, with the place of what is too many."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, close
from lib.evaluation.faults.pieces import Numbered, box_start, boxes, pieces
from lib.evaluation.faults.scene import Scene
from lib.evaluation.metrics.crop import bounding_box

RIM, BESIDE = 2, 5
"""Voxels of the empty rim, and within which a finding belongs to a label."""
LEAST_PIECE, LEAST_CAVITY = (40, 46.0), (6, 7.0)
"""Voxels, or mm3, of the smallest piece and of the smallest cavity that count."""


def miscounted(scene: Scene, expected: Expected, known: Sequence[Fault]) -> Iterator[Fault]:
    """Yield what a label, or several together, has too many of.

    Args:
        scene: Label and image.
        expected: How many of what.
        known: What other checks found already: a break makes a component more, and is not told twice.
    """
    values = [scene.values[name] for name in expected.labels]
    mask = np.isin(scene.label, values)
    if not mask.any():
        return
    box = bounding_box(mask)
    shape = _Shape(np.pad(mask[box], RIM), scene.count(*LEAST_PIECE), scene.count(*LEAST_CAVITY))
    start = box_start(box) - RIM
    told = [fault.code for fault in known if _is_beside(scene, mask, fault)]
    parts, ways, gaps = expected.components, expected.loops, expected.cavities
    if parts is not None and len(shape.parts) - told.count("BREAK") - told.count("ISLAND") > parts:
        for number, count, _ in shape.parts[parts:]:
            reason = f"{len(shape.parts)} pieces of {expected.name}, where {parts} may be; this one is apart."
            place = start + np.argwhere(shape.numbered == number).mean(axis=0)
            yield scene.fault("COMPONENTS", reason, place, label=expected.name, voxels=count)
    # What hangs on a label may close loops with it; they go with it.
    hung = set(told) & {"LOOP", "LEAK", "SPUR", "JOINED"}
    # Nor is a way around what is ignored known to be one.
    if ways is not None and shape.loops > ways and not hung and shape.with_filled(scene.ignored[box]).loops > ways:
        reason = f"{shape.loops} loops in {expected.name}, where {ways} may be; the thinnest place of one."
        yield scene.fault("LOOP", reason, start + shape.thinnest(scene.spacing_mm), label=expected.name)
    if gaps is not None and len(shape.cavities) - told.count("HOLE") > gaps:
        number, count, _ = shape.cavities[0]
        reason = f"{len(shape.cavities)} holes in {expected.name}, where {gaps} may be; the largest one."
        place = start + np.argwhere(shape.empty == number).mean(axis=0)
        yield scene.fault("HOLE", reason, place, label=expected.name, voxels=count)


def _is_beside(scene: Scene, mask: Mask, fault: Fault) -> bool:
    """Say whether a finding lies at a mask: where two labels meet, it has the name of one of them."""
    if fault.voxel is None:
        return False
    place = np.subtract(fault.voxel, scene.offset)
    return bool(mask[tuple(slice(max(0, int(i) - BESIDE), int(i) + BESIDE + 1) for i in place)].any())


class _Shape:
    """Pieces, cavities and loops of a mask that has an empty rim.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``.
        piece: Voxels of the smallest piece that counts.
        cavity: Voxels of the smallest cavity that counts.
    """

    def __init__(self, mask: Mask, piece: int, cavity: int) -> None:
        closed = close(mask)
        self.numbered: Numbered = pieces(closed)
        self.parts = [each for each in boxes(self.numbered) if each[1] >= piece]
        kept = np.isin(self.numbered, [number for number, *_ in self.parts])
        self.loops = len(self.parts) + int(pieces(~kept, 6).max()) - 1 - int(euler_number(kept, connectivity=3))
        # A closing would make holes of what is nearly enclosed.
        self.empty: Numbered = pieces(~mask, 6)
        enclosed = [each for each in boxes(self.empty) if each[0] != self.empty[0, 0, 0]]
        self.cavities = [each for each in enclosed if each[1] >= cavity]
        self._kept = kept
        self._made_of = mask, piece, cavity

    def with_filled(self, more: Mask) -> "_Shape":
        """Return the shape with more voxels in it, given without the rim."""
        mask, piece, cavity = self._made_of
        return _Shape(mask | np.pad(more, RIM), piece, cavity) if more.any() else self

    def thinnest(self, spacing_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return where a loop is thinnest: the middle of that run of the skeleton without its dead ends."""
        ways = _without_ends(skeletonize(self._kept))
        radius = np.asarray(ndimage.distance_transform_edt(self._kept, sampling=spacing_mm))
        # Where a way is not thin: a loop that the skeleton lost.
        places = np.argwhere(ways) if ways.any() else np.argwhere(self._kept)
        thin = radius[tuple(places.T)]
        run = pieces(_at(self._kept.shape, places[thin <= thin.min() * 1.3]))
        return np.argwhere(run == run[tuple(places[thin.argmin()])]).mean(axis=0)


def _without_ends(lines: Mask) -> Mask:
    """Return a skeleton without its dead ends: loops, and what lies between them."""
    lines = lines.copy()
    while True:
        near = ndimage.convolve(lines.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant")
        ends = lines & (near <= 2)
        if not ends.any():
            return lines
        lines[ends] = False


def _at(shape: tuple[int, ...], places: npt.NDArray[np.integer]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(places.T)] = True
    return mask
