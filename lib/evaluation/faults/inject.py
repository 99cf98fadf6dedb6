"""Faults put into a right label, each a real one by its Betti numbers: what a check must find.

`INJECTORS` names functions ``(label, image, spacing_mm, rng, tubes) -> Injected | None``. Additions go into what is
brighter than `TISSUE_HU`, as a slip of the brush does. Places are drawn until one gives a fault, `TRIES` times at most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.faults.neighbours import Mask, grow
from lib.evaluation.faults.pieces import boxes, pieces
from lib.evaluation.faults.scene import IGNORE
from lib.evaluation.metrics.topology import betti_numbers

Label = npt.NDArray[np.uint8]
Points = npt.NDArray[np.integer]
TISSUE_HU = -150
"""Whatever is added is brighter, as the mean of 27 voxels: noise is no air."""
TRIES = 2000
BREAK_VOXELS, LEAST_HALF, ACROSS = (1.0, 3.0), 100, 0.8
LOOP_VOXELS, SPUR_VOXELS, LEAK_MM = (7, 16), (8, 14), (5.0, 9.0)


@dataclass(frozen=True)
class Injected:
    """A label with one fault more.

    Args:
        kind: The code that a check must give it.
        label: The whole label.
        points: What was added or taken away, as indices ``(N, 3)``.
    """

    kind: str
    label: Label
    points: npt.NDArray[np.integer]

    @property
    def place(self) -> npt.NDArray[np.floating]:
        """The middle of it, as index."""
        return self.points.mean(axis=0)


Injector = Callable[[Label, npt.NDArray, Sequence[float], np.random.Generator, Sequence[int]], Injected | None]


def labelled(label: Label) -> Mask:
    """Return what is labelled, voxels to ignore left out."""
    return (label > 0) & (label < IGNORE)


def inject_break(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Cut a tube across: a slab of one to three voxels, with `LEAST_HALF` voxels at least on both sides.

    Args:
        label: Label values, ``(X, Y, Z)``.
        image: Intensities.
        spacing_mm: Voxel spacing per axis, in mm.
        rng: Chance.
        tubes: Values of the labels that are tubes.
    """
    tube = np.argwhere(np.isin(label, tubes))
    before = _large(labelled(label))
    for _ in range(TRIES // 20 if len(tube) else 0):
        centre = tube[rng.integers(len(tube))]
        taken = _slab(label.shape, tube, centre, rng.uniform(*BREAK_VOXELS))
        cut = np.where(taken, 0, label).astype(np.uint8)
        if _large(labelled(cut)) == before + 1 and _is_across(labelled(cut), taken):
            return Injected("BREAK", cut, np.argwhere(taken))
    return None


def inject_loop(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Join two places by a straight bar, three voxels across, through 7 to 16 voxels of tissue: b1 grows by one."""
    union = labelled(label)
    surface, before, smooth = _surface(union), betti_numbers(union), _smooth(image)
    walls = grow(union, 2)
    for _ in range(TRIES):
        one = surface[rng.integers(len(surface))]
        ahead = surface - one
        far = np.linalg.norm(ahead, axis=1)
        facing = ahead @ _outwards(union, one, rng) > 0.7 * far
        ends = surface[facing & (far > LOOP_VOXELS[0]) & (far <= LOOP_VOXELS[1] + 1)]
        if not len(ends):
            continue
        line = _line(one, ends[rng.integers(len(ends))])
        free = line[~union[tuple(line.T)]]
        # Of nearly the whole line, so that it leaves the label once and meets it once.
        if not LOOP_VOXELS[0] <= len(free) <= LOOP_VOXELS[1] or len(line) - len(free) > 3:
            continue
        # Else it runs along a wall, and is a bulge.
        if walls[tuple(free[3:-3].T)].any() or not _bright(smooth, free):
            continue
        added = _thick(union, free)
        if _in_tissue(smooth, added):
            b0, b1, b2 = betti_numbers(union | added)
            if (b0, b1, b2) == (before[0], before[1] + 1, before[2]):
                return Injected("LOOP", _drawn(label, added, one), np.argwhere(added))
    return None


def inject_spur(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Draw a line out of the label, 8 to 14 voxels long and one or three across: no Betti number changes."""
    union = labelled(label)
    surface, before, smooth = _surface(union), betti_numbers(union), _smooth(image)
    walls = grow(union, 2)
    for _ in range(TRIES):
        one = surface[rng.integers(len(surface))]
        length = int(rng.integers(SPUR_VOXELS[0], SPUR_VOXELS[1] + 1))
        line = _inside(_line(one, np.rint(one + length * _outwards(union, one, rng)).astype(int))[1:], union.shape)
        if len(line) < SPUR_VOXELS[0] or union[tuple(line.T)].any() or not _bright(smooth, line):
            continue
        added = _thick(union, line) if rng.random() < 0.5 else _marked(union.shape, line)
        # Else it runs along a wall, and is a bulge.
        close = walls[tuple(line[4:].T)].any()
        if not close and _in_tissue(smooth, added) and betti_numbers(union | added) == before:
            return Injected("SPUR", _drawn(label, added, one), np.argwhere(added))
    return None


def inject_leak(
    label: Label, image: npt.NDArray, spacing_mm: Sequence[float], rng: np.random.Generator, tubes: Sequence[int]
) -> Injected | None:
    """Draw a ball of 5 to 9 mm radius beside the label, joined to it by a neck: no Betti number changes."""
    union, step = labelled(label), np.asarray(spacing_mm, float)
    surface, before, smooth = _surface(union), betti_numbers(union), _smooth(image)
    walls = grow(union)
    for _ in range(TRIES):
        one, radius_mm = surface[rng.integers(len(surface))], rng.uniform(*LEAK_MM)
        centre = np.rint(one + _outwards(union, one, rng) * (radius_mm + 3) / step).astype(int)
        rim = centre + np.rint(np.concatenate([np.eye(3), -np.eye(3)]) * radius_mm / step).astype(int)
        if not len(_inside(rim, union.shape)) or not _bright(smooth, rim):
            continue
        ball = _ball(union.shape, centre, radius_mm / step)
        if (walls & ball).any():
            continue
        neck = _line(one, centre)[1:]
        added = (ball | _thick(union, neck)) & ~union
        if _in_tissue(smooth, added) and betti_numbers(union | added) == before:
            return Injected("LEAK", _drawn(label, added, one), np.argwhere(added))
    return None


INJECTORS: dict[str, Injector] = {
    "BREAK": inject_break,
    "LOOP": inject_loop,
    "LEAK": inject_leak,
    "SPUR": inject_spur,
}


def _surface(union: Mask) -> Points:
    """Return the outermost voxels of pieces that are no specks."""
    return np.argwhere(cc3d.dust(union, threshold=LEAST_HALF, connectivity=26).astype(bool) & grow(~union))


def _large(mask: Mask) -> int:
    return sum(count >= LEAST_HALF for _, count, _ in boxes(pieces(mask)))


def _slab(shape: tuple[int, ...], tube: Points, centre: Points, thickness: float) -> Mask:
    """Return the piece of a plane of some thickness, across the tube's local direction, that holds `centre`."""
    around = tube[(np.abs(tube - centre) <= 14).all(axis=1)] - centre
    axis = np.linalg.eigh(np.cov(around.T) if len(around) > 3 else np.eye(3))[1][:, -1]
    near = tube[(np.abs(tube - centre) <= 24).all(axis=1)]
    slab = pieces(_marked(shape, near[np.abs((near - centre) @ axis) <= thickness / 2]))
    return slab == slab[tuple(centre)]


def _is_across(cut: Mask, taken: Mask) -> bool:
    """Say whether what was taken had the one half on one side and the other on the other, nearly everywhere."""
    numbered = pieces(cut)
    halves = np.argsort(np.bincount(numbered[grow(taken) & cut], minlength=3)[1:])[-2:] + 1
    between = taken & grow(numbered == halves[0], 2) & grow(numbered == halves[1], 2)
    return np.count_nonzero(between) >= ACROSS * np.count_nonzero(taken)


def _outwards(union: Mask, one: Points, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """Return a direction away from what is labelled around a voxel, about 25 degrees to any side."""
    box = tuple(slice(max(0, int(i) - 4), int(i) + 5) for i in one)
    away = one - (np.argwhere(union[box]).mean(axis=0) + [side.start for side in box])
    direction = away / max(float(np.linalg.norm(away)), 1e-6) + rng.normal(0, 0.25, 3)
    return direction / max(float(np.linalg.norm(direction)), 1e-6)


def _line(one: Points, other: Points) -> Points:
    """Return the voxels of a straight line, its ends among them."""
    count = int(np.abs(other - one).max()) + 1
    return np.rint(np.linspace(one, other, count)).astype(int)


def _inside(points: Points, shape: tuple[int, ...]) -> Points:
    return points if ((points >= 1) & (points < np.array(shape) - 1)).all() else points[:0]


def _marked(shape: tuple[int, ...], points: Points) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(points.T)] = True
    return mask


def _thick(union: Mask, line: Points) -> Mask:
    """Return a line with its six neighbours, without what is labelled."""
    mask = np.zeros(union.shape, bool)
    for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int), np.zeros(3, int)):
        moved = line + step
        mask[tuple(moved[((moved >= 0) & (moved < union.shape)).all(axis=1)].T)] = True
    return mask & ~union


def _ball(shape: tuple[int, ...], centre: Points, radius: npt.NDArray[np.floating]) -> Mask:
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True)) <= 1)


def _smooth(image: npt.NDArray) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.uniform_filter(image.astype(np.float32), 3), np.float32)


def _bright(smooth: npt.NDArray, points: Points) -> bool:
    return bool((smooth[tuple(points.T)] > TISSUE_HU).all())


def _in_tissue(smooth: npt.NDArray, added: Mask) -> bool:
    """Say whether all of `added` is tissue in an image that was smoothed."""
    return bool(added.any()) and bool((smooth[added] > TISSUE_HU).all())


def _drawn(label: Label, added: Mask, one: Points) -> Label:
    return np.where(added, label[tuple(one)], label).astype(np.uint8)
