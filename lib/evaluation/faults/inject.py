"""Inject faults into a correct label, to measure how many of them the checks find.

`INJECTORS` holds functions ``(label, image, spacing_mm, rng, tubes) -> Injected | None``. The Betti numbers prove that
each fault is real. Parts are added only in tissue brighter than `TISSUE_HU`, as a slip of the brush adds them. An
injector draws at most `TRIES` places until one gives a fault.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.faults.neighbours import Mask, dilate
from lib.evaluation.faults.pieces import number_pieces, pieces_by_size
from lib.evaluation.faults.scene import IGNORE
from lib.evaluation.metrics.topology import betti_numbers

Label = npt.NDArray[np.uint8]
Points = npt.NDArray[np.integer]
TISSUE_HU = -150
"""An added voxel is brighter than this in the mean of its 3 x 3 x 3 block, so that noise is not taken for air."""
TRIES = 2000
BREAK_VOXELS, MIN_PIECE_VOXELS, MIN_SHARE_BETWEEN = (1.0, 3.0), 100, 0.8
LOOP_VOXELS, SPUR_VOXELS, LEAK_MM = (7, 16), (8, 14), (5.0, 9.0)


@dataclass(frozen=True)
class Injected:
    """A label with one injected fault.

    Args:
        kind: Code of the finding that a check must give.
        label: Label with the fault, ``(X, Y, Z)``.
        points: Added or removed voxels, as indices ``(N, 3)``.
    """

    kind: str
    label: Label
    points: npt.NDArray[np.integer]

    @property
    def place(self) -> npt.NDArray[np.floating]:
        """Mean index of the added or removed voxels, ``(3,)``."""
        return self.points.mean(axis=0)


Injector = Callable[[Label, npt.NDArray, Sequence[float], np.random.Generator, Sequence[int]], Injected | None]


def labelled_mask(label: Label) -> Mask:
    """Return the mask of the labelled voxels, without ignored ones."""
    return (label > 0) & (label < IGNORE)


def inject_break(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Cut a tube by a slab of one to three voxels, with at least `MIN_PIECE_VOXELS` voxels on both sides.

    Args:
        label: Label values, ``(X, Y, Z)``.
        image: Intensities.
        spacing_mm: Voxel spacing per axis, in mm.
        rng: Source of the random draws.
        tubes: Values of the labels that are tubes.
    """
    tube = np.argwhere(np.isin(label, tubes))
    before = _count_large(labelled_mask(label))
    for _ in range(TRIES // 20 if len(tube) else 0):
        centre = tube[rng.integers(len(tube))]
        removed = _slab(label.shape, tube, centre, rng.uniform(*BREAK_VOXELS))
        cut = np.where(removed, 0, label).astype(np.uint8)
        if _count_large(labelled_mask(cut)) == before + 1 and _is_across(labelled_mask(cut), removed):
            return Injected("BREAK", cut, np.argwhere(removed))
    return None


def inject_loop(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Join two places by a straight bar, 3 voxels wide, through 7 to 16 voxels of tissue: b1 grows by one."""
    union = labelled_mask(label)
    surface, before, smooth = _surface(union), betti_numbers(union), _block_means(image)
    walls = dilate(union, 2)
    for _ in range(TRIES):
        start = surface[rng.integers(len(surface))]
        ahead = surface - start
        far = np.linalg.norm(ahead, axis=1)
        facing = ahead @ _outward_direction(union, start, rng) > 0.7 * far
        ends = surface[facing & (far > LOOP_VOXELS[0]) & (far <= LOOP_VOXELS[1] + 1)]
        if not len(ends):
            continue
        line = _line(start, ends[rng.integers(len(ends))])
        free = line[~union[tuple(line.T)]]
        # Nearly the whole line is free, so the line leaves the label once and enters it once.
        if not LOOP_VOXELS[0] <= len(free) <= LOOP_VOXELS[1] or len(line) - len(free) > 3:
            continue
        # A bar along a wall would be a bulge of the label and not a bridge.
        if walls[tuple(free[3:-3].T)].any() or not _is_bright(smooth, free):
            continue
        added = _thicken(union, free)
        if _is_in_tissue(smooth, added):
            b0, b1, b2 = betti_numbers(union | added)
            if (b0, b1, b2) == (before[0], before[1] + 1, before[2]):
                return Injected("LOOP", _paint(label, added, start), np.argwhere(added))
    return None


def inject_spur(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Draw a line out of the label, 8 to 14 voxels long and 1 or 3 voxels wide: no Betti number changes."""
    union = labelled_mask(label)
    surface, before, smooth = _surface(union), betti_numbers(union), _block_means(image)
    walls = dilate(union, 2)
    for _ in range(TRIES):
        start = surface[rng.integers(len(surface))]
        length = int(rng.integers(SPUR_VOXELS[0], SPUR_VOXELS[1] + 1))
        line = _keep_if_inside(
            _line(start, np.rint(start + length * _outward_direction(union, start, rng)).astype(int))[1:], union.shape
        )
        if len(line) < SPUR_VOXELS[0] or union[tuple(line.T)].any() or not _is_bright(smooth, line):
            continue
        added = _thicken(union, line) if rng.random() < 0.5 else _mask_of(union.shape, line)
        # A line along a wall would be a bulge of the label and not a spur.
        is_near_wall = walls[tuple(line[4:].T)].any()
        if not is_near_wall and _is_in_tissue(smooth, added) and betti_numbers(union | added) == before:
            return Injected("SPUR", _paint(label, added, start), np.argwhere(added))
    return None


def inject_leak(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Draw a ball of 5 to 9 mm radius beside the label, joined to the label by a neck: no Betti number changes."""
    union, step = labelled_mask(label), np.asarray(spacing_mm, float)
    surface, before, smooth = _surface(union), betti_numbers(union), _block_means(image)
    walls = dilate(union)
    for _ in range(TRIES):
        start, radius_mm = surface[rng.integers(len(surface))], rng.uniform(*LEAK_MM)
        centre = np.rint(start + _outward_direction(union, start, rng) * (radius_mm + 3) / step).astype(int)
        rim = centre + np.rint(np.concatenate([np.eye(3), -np.eye(3)]) * radius_mm / step).astype(int)
        if not len(_keep_if_inside(rim, union.shape)) or not _is_bright(smooth, rim):
            continue
        ball = _ball(union.shape, centre, radius_mm / step)
        if (walls & ball).any():
            continue
        neck = _line(start, centre)[1:]
        added = (ball | _thicken(union, neck)) & ~union
        if _is_in_tissue(smooth, added) and betti_numbers(union | added) == before:
            return Injected("LEAK", _paint(label, added, start), np.argwhere(added))
    return None


INJECTORS: dict[str, Injector] = {
    "BREAK": inject_break,
    "LOOP": inject_loop,
    "LEAK": inject_leak,
    "SPUR": inject_spur,
}


def _surface(union: Mask) -> Points:
    """Return the outermost voxels of the pieces of at least `MIN_PIECE_VOXELS` voxels, as indices ``(N, 3)``."""
    return np.argwhere(cc3d.dust(union, threshold=MIN_PIECE_VOXELS, connectivity=26).astype(bool) & dilate(~union))


def _count_large(mask: Mask) -> int:
    return sum(count >= MIN_PIECE_VOXELS for _, count, _ in pieces_by_size(number_pieces(mask)))


def _slab(shape: tuple[int, ...], tube: Points, centre: Points, thickness: float) -> Mask:
    """Return the connected slab through `centre`, `thickness` voxels thick, across the local direction of the tube."""
    around = tube[(np.abs(tube - centre) <= 14).all(axis=1)] - centre
    axis = np.linalg.eigh(np.cov(around.T) if len(around) > 3 else np.eye(3))[1][:, -1]
    near = tube[(np.abs(tube - centre) <= 24).all(axis=1)]
    slab = number_pieces(_mask_of(shape, near[np.abs((near - centre) @ axis) <= thickness / 2]))
    return slab == slab[tuple(centre)]


def _is_across(cut: Mask, removed: Mask) -> bool:
    """Return whether nearly all of the removed slab lies between the two pieces that it separates."""
    numbered = number_pieces(cut)
    halves = np.argsort(np.bincount(numbered[dilate(removed) & cut], minlength=3)[1:])[-2:] + 1
    between = removed & dilate(numbered == halves[0], 2) & dilate(numbered == halves[1], 2)
    return np.count_nonzero(between) >= MIN_SHARE_BETWEEN * np.count_nonzero(removed)


def _outward_direction(union: Mask, start: Points, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Return a random unit vector that points away from the labelled voxels around `start`, within about 25 degrees."""
    box = tuple(slice(max(0, int(i) - 4), int(i) + 5) for i in start)
    away = start - (np.argwhere(union[box]).mean(axis=0) + [side.start for side in box])
    direction = away / max(float(np.linalg.norm(away)), 1e-6) + rng.normal(0, 0.25, 3)
    return direction / max(float(np.linalg.norm(direction)), 1e-6)


def _line(start: Points, end: Points) -> Points:
    """Return the voxels of a straight line with both ends, as indices ``(N, 3)``."""
    count = int(np.abs(end - start).max()) + 1
    return np.rint(np.linspace(start, end, count)).astype(int)


def _keep_if_inside(points: Points, shape: tuple[int, ...]) -> Points:
    return points if ((points >= 1) & (points < np.array(shape) - 1)).all() else points[:0]


def _mask_of(shape: tuple[int, ...], points: Points) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(points.T)] = True
    return mask


def _thicken(union: Mask, line: Points) -> Mask:
    """Return the mask of a line and its six-neighbours, without labelled voxels."""
    mask = np.zeros(union.shape, bool)
    for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int), np.zeros(3, int)):
        moved = line + step
        mask[tuple(moved[((moved >= 0) & (moved < union.shape)).all(axis=1)].T)] = True
    return mask & ~union


def _ball(shape: tuple[int, ...], centre: Points, radius: npt.NDArray[np.floating]) -> Mask:
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True)) <= 1)


def _block_means(image: npt.NDArray) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.uniform_filter(image.astype(np.float32), 3), np.float32)


def _is_bright(smooth: npt.NDArray, points: Points) -> bool:
    return bool((smooth[tuple(points.T)] > TISSUE_HU).all())


def _is_in_tissue(smooth: npt.NDArray, added: Mask) -> bool:
    """Return whether all voxels of `added` are tissue in the smoothed image."""
    return bool(added.any()) and bool((smooth[added] > TISSUE_HU).all())


def _paint(label: Label, added: Mask, start: Points) -> Label:
    return np.where(added, label[tuple(start)], label).astype(np.uint8)
