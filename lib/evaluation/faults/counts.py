"""Compare the Betti numbers of a label with the limits in app.toml, and locate what exceeds them."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import euler_number

from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import Fault
from lib.evaluation.faults.neighbours import Mask, close_gaps
from lib.evaluation.faults.pieces import Numbered, box_start, number_pieces, pieces_by_size
from lib.evaluation.faults.scene import Scene
from lib.evaluation.metrics.crop import bounding_box
from lib.ops.skeleton import skeleton

RIM, MAX_DISTANCE = 2, 5
"""Voxels of the empty rim, and the distance in voxels up to which a finding belongs to a label."""
MIN_PIECE, MIN_CAVITY = (40, 46.0), (6, 7.0)
"""Sizes in voxels and in mm3 (see `Scene.to_voxels`) from which a piece and a cavity count."""


def find_miscounts(scene: Scene, expected: Expected, known: Sequence[Fault]) -> Iterator[Fault]:
    """Yield a finding for each Betti number of a label, or of several labels together, that exceeds its limit.

    Args:
        scene: Label and image.
        expected: Largest Betti numbers.
        known: Findings of the other checks. A break adds a component; it is not reported a second time.
    """
    values = [scene.values[name] for name in expected.labels]
    mask = np.isin(scene.label, values)
    if not mask.any():
        return
    box = bounding_box(mask)
    shape = _Shape(np.pad(mask[box], RIM), scene.to_voxels(*MIN_PIECE), scene.to_voxels(*MIN_CAVITY))
    start = box_start(box) - RIM
    known_codes = [fault.code for fault in known if _is_beside(scene, mask, fault)]
    max_parts, max_loops, max_cavities = expected.components, expected.loops, expected.cavities
    known_pieces = known_codes.count("BREAK") + known_codes.count("ISLAND")
    if max_parts is not None and len(shape.parts) - known_pieces > max_parts:
        for number, count, _ in shape.parts[max_parts:]:
            reason = f"{expected.name} has {len(shape.parts)} pieces; at most {max_parts} expected. One is here."
            place = start + np.argwhere(shape.numbered == number).mean(axis=0)
            yield scene.make_fault("COMPONENTS", reason, place, label=expected.name, voxels=count)
    # A wrongly added part may itself close a loop, which disappears when the part is erased.
    has_added_part = set(known_codes) & {"LOOP", "LEAK", "SPUR", "JOINED"}
    if (
        max_loops is not None
        and shape.loops > max_loops
        and not has_added_part
        # A loop around ignored voxels is not counted: the ignored voxels may belong to the label.
        and shape.with_filled(scene.ignored[box]).loops > max_loops
    ):
        loops = _plural(shape.loops, "loop")
        reason = f"{expected.name} has {loops}; at most {max_loops} expected. A loop is thinnest here."
        yield scene.make_fault("LOOP", reason, start + shape.thinnest(scene.spacing_mm), label=expected.name)
    if max_cavities is not None and len(shape.cavities) - known_codes.count("HOLE") > max_cavities:
        number, count, _ = shape.cavities[0]
        holes = _plural(len(shape.cavities), "hole")
        reason = f"{expected.name} has {holes}; at most {max_cavities} expected. The largest one is here."
        place = start + np.argwhere(shape.empty == number).mean(axis=0)
        yield scene.make_fault("HOLE", reason, place, label=expected.name, voxels=count)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _is_beside(scene: Scene, mask: Mask, fault: Fault) -> bool:
    """Return whether a finding lies at a mask; where two labels meet, the finding names only one of them."""
    if fault.voxel is None:
        return False
    place = np.subtract(fault.voxel, scene.offset)
    return bool(mask[tuple(slice(max(0, int(i) - MAX_DISTANCE), int(i) + MAX_DISTANCE + 1) for i in place)].any())


class _Shape:
    """Pieces, loops and cavities of a mask.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``, with an empty rim of `RIM` voxels.
        min_piece: Size in voxels from which a piece counts.
        min_cavity: Size in voxels from which a cavity counts.
    """

    def __init__(self, mask: Mask, min_piece: int, min_cavity: int) -> None:
        closed = close_gaps(mask)
        self.numbered: Numbered = number_pieces(closed)
        self.parts = [part for part in pieces_by_size(self.numbered) if part[1] >= min_piece]
        kept = np.isin(self.numbered, [number for number, *_ in self.parts])
        self.loops = len(self.parts) + int(number_pieces(~kept, 6).max()) - 1 - int(euler_number(kept, connectivity=3))
        # Cavities are counted without the closing, which would turn nearly enclosed spaces into cavities.
        self.empty: Numbered = number_pieces(~mask, 6)
        enclosed = [part for part in pieces_by_size(self.empty) if part[0] != self.empty[0, 0, 0]]
        self.cavities = [part for part in enclosed if part[1] >= min_cavity]
        self._kept = kept
        self._arguments = mask, min_piece, min_cavity

    def with_filled(self, added: Mask) -> "_Shape":
        """Return the shape with the voxels of `added`, a mask without the rim, filled in."""
        mask, min_piece, min_cavity = self._arguments
        return _Shape(mask | np.pad(added, RIM), min_piece, min_cavity) if added.any() else self

    def thinnest(self, spacing_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the index where a loop is thinnest: the middle of the thinnest skeleton run without dead ends."""
        lines = _without_ends(skeleton(self._kept))
        radius = np.asarray(ndimage.distance_transform_edt(self._kept, sampling=spacing_mm))
        places = np.argwhere(lines)
        thin = radius[tuple(places.T)]
        run = number_pieces(_mask_of(self._kept.shape, places[thin <= thin.min() * 1.3]))
        return np.argwhere(run == run[tuple(places[thin.argmin()])]).mean(axis=0)


def _without_ends(lines: Mask) -> Mask:
    """Return a skeleton without its dead ends: its loops and the lines between them."""
    lines = lines.copy()
    while True:
        near = ndimage.convolve(lines.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant")
        ends = lines & (near <= 2)
        if not ends.any():
            return lines
        lines[ends] = False


def _mask_of(shape: tuple[int, ...], places: npt.NDArray[np.integer]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(places.T)] = True
    return mask
