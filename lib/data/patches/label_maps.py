"""Label maps of single slices, windows around what is drawn: of cases, and of phantoms that nobody scanned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom import make_case
from lib.data.pipeline import IGNORE, ImageSpec, Reading, window
from lib.data.volumes.grid import Grid

SMALLEST = 12
"""Samples of a label that is worth a slice."""


@dataclass(frozen=True, eq=False)
class Maps:
    """Windows of slices.

    Args:
        labels: uint8 ``(n, H, W)``.
        images: The same places in [0, 1], float32 ``(n, H, W)``; of phantoms' maps, empty.
        owners: Whose each of them is.
    """

    labels: NDArray[np.uint8]
    images: NDArray[np.float32]
    owners: tuple[str, ...]


def maps_of(readings: Iterable[tuple[str, Reading]], spec: ImageSpec, *, per_case: int) -> Maps:
    """Return slices of labelled cases, evenly along those where enough is drawn.

    Args:
        readings: Whose it is, and the case with its label.
        spec: The window, and the size of the maps.
        per_case: Slices of a case at most.
    """
    labels, images, owners = [], [], []
    for owner, reading in readings:
        assert reading.label is not None, "maps are of labels"
        marks = reading.label.numpy()
        for z in _spread(marks, per_case):
            centre = _middle(marks[..., z])
            labels.append(_around(marks[..., z], centre, spec.roi))
            hu = window(reading.hu[0, ..., z].clone(), spec.window_hu).numpy()
            images.append(_around(hu, centre, spec.roi, edge=True))
            owners.append(owner)
    return Maps(_stacked(labels, np.uint8, spec), _stacked(images, np.float32, spec), tuple(owners))


def phantom_maps(count: int, seed: int, spec: ImageSpec, *, united: bool = False, per_case: int = 8) -> Maps:
    """Return maps of procedural airways, whose anatomy and topology are drawn anew for each.

    Args:
        count: Maps.
        seed: Of the airways.
        spec: Their spacing and size.
        united: Whether all parts are one class.
        per_case: Slices of one airway at most.
    """
    labels: list[NDArray[np.uint8]] = []
    owners: list[str] = []
    spacing, airway = spec.spacing_mm, 0
    while len(labels) < count:
        name = int(np.random.SeedSequence([seed, airway]).generate_state(1, np.uint32)[0])
        # Only its labels are wanted: on a grid no finer than the maps'.
        case = make_case(name, pixel_mm=spacing[0], slice_mm=spacing[2], grid_mm=max(1.35, 0.75 * min(spacing)))
        marks = Grid.over(case.label.shape, case.affine, spacing).label(case.label).numpy()
        for z in _spread(marks, per_case):
            found = _around(marks[..., z], _middle(marks[..., z]), spec.roi)
            labels.append(np.where((found > 0) & (found != IGNORE), 1, found).astype(np.uint8) if united else found)
            owners.append(f"phantom {name}")
        airway += 1
    return Maps(
        _stacked(labels[:count], np.uint8, spec), np.zeros((0, *spec.roi[:2]), np.float32), tuple(owners[:count])
    )


def _spread(marks: NDArray[np.uint8], count: int) -> list[int]:
    there = np.flatnonzero(_drawn(marks).sum((0, 1)) >= SMALLEST)
    chosen = np.linspace(0, len(there) - 1, min(count, len(there))).round().astype(int)
    return [int(there[index]) for index in dict.fromkeys(chosen.tolist())]


def _drawn(marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (marks > 0) & (marks != IGNORE)


def _middle(marks: NDArray[np.uint8]) -> tuple[int, int]:
    rows, columns = np.nonzero(_drawn(marks))
    return round(float(rows.mean())), round(float(columns.mean()))


def _around(plane: NDArray, centre: tuple[int, int], size: tuple[int, ...], *, edge: bool = False) -> NDArray:
    """Return a window of a plane; what lies outside is 0, or the border repeated."""
    padded = np.pad(plane, [(side, side) for side in size[:2]], mode="edge" if edge else "constant")
    row, column = (at + side - side // 2 for at, side in zip(centre, size, strict=False))
    return padded[row : row + size[0], column : column + size[1]]


def _stacked(planes: list[NDArray], dtype: type, spec: ImageSpec) -> NDArray:
    return np.stack(planes).astype(dtype) if planes else np.zeros((0, *spec.roi[:2]), dtype)
