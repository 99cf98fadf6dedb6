"""Label maps of single slices, cropped around the label: from labelled cases, and from procedural airways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom import make_case
from lib.data.pipeline import IGNORE, ImageSpec, Reading
from lib.data.volumes.grid import Grid

MIN_LABEL_SAMPLES = 12
"""Slices with fewer labelled samples are not used."""


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """Cropped slices with their labels.

    Args:
        labels: Label maps, uint8 ``(n, H, W)``.
        images: Windowed images of the same crops in [0, 1], float32 ``(n, H, W)``; empty for procedural airways.
        owners: Patient of each map, or the name of the procedural airway.
    """

    labels: NDArray[np.uint8]
    images: NDArray[np.float32]
    owners: tuple[str, ...]


def case_maps(readings: Iterable[tuple[str, Reading]], spec: ImageSpec, *, per_case: int) -> LabelMaps:
    """Return label maps of labelled cases, from slices evenly spread over those with enough labelled samples.

    Args:
        readings: Patient and reading of each case; the readings have labels.
        spec: Has as its roi the size of the maps.
        per_case: Largest number of slices of a case.
    """
    labels, images, owners = [], [], []
    for owner, reading in readings:
        assert reading.label is not None, "label maps are taken from labelled cases"
        marks = reading.label.numpy()
        for z in _spread(marks, per_case):
            centre = _middle(marks[..., z])
            labels.append(_crop(marks[..., z], centre, spec.roi))
            image = reading.scales[0](reading.intensities[0, ..., z]).numpy()
            images.append(_crop(image, centre, spec.roi, edge=True))
            owners.append(owner)
    return LabelMaps(_stacked(labels, np.uint8, spec), _stacked(images, np.float32, spec), tuple(owners))


def phantom_maps(count: int, seed: int, spec: ImageSpec, *, united: bool = False, per_case: int = 8) -> LabelMaps:
    """Return label maps of procedural airways; each airway has random anatomy and topology.

    Args:
        count: Number of maps.
        seed: Seed of the airways.
        spec: Spacing of the slices, and as its roi the size of the maps.
        united: Whether all classes become class 1.
        per_case: Largest number of slices of one airway.
    """
    labels: list[NDArray[np.uint8]] = []
    owners: list[str] = []
    spacing, airway = spec.spacing_mm, 0
    while len(labels) < count:
        name = int(np.random.SeedSequence([seed, airway]).generate_state(1, np.uint32)[0])
        # Only the labels are used, so a grid that is no finer than the maps is enough.
        case = make_case(name, pixel_mm=spacing[0], slice_mm=spacing[2], grid_mm=max(1.35, 0.75 * min(spacing)))
        marks = Grid.over(case.label.shape, case.affine, spacing).label(case.label).numpy()
        for z in _spread(marks, per_case):
            found = _crop(marks[..., z], _middle(marks[..., z]), spec.roi)
            labels.append(np.where((found > 0) & (found != IGNORE), 1, found).astype(np.uint8) if united else found)
            owners.append(f"phantom {name}")
        airway += 1
    return LabelMaps(
        _stacked(labels[:count], np.uint8, spec), np.zeros((0, *spec.roi[:2]), np.float32), tuple(owners[:count])
    )


def _spread(marks: NDArray[np.uint8], count: int) -> list[int]:
    """Return the indices of at most `count` slices with enough labelled samples, evenly spread."""
    there = np.flatnonzero(_is_labelled(marks).sum((0, 1)) >= MIN_LABEL_SAMPLES)
    chosen = np.linspace(0, len(there) - 1, min(count, len(there))).round().astype(int)
    return [int(there[index]) for index in dict.fromkeys(chosen.tolist())]


def _is_labelled(marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (marks > 0) & (marks != IGNORE)


def _middle(marks: NDArray[np.uint8]) -> tuple[int, int]:
    rows, columns = np.nonzero(_is_labelled(marks))
    return round(float(rows.mean())), round(float(columns.mean()))


def _crop(plane: NDArray, centre: tuple[int, int], size: tuple[int, ...], *, edge: bool = False) -> NDArray:
    """Return a crop of a plane; samples outside the plane are 0, or repeat the border if `edge` is set."""
    padded = np.pad(plane, [(side, side) for side in size[:2]], mode="edge" if edge else "constant")
    row, column = (at + side - side // 2 for at, side in zip(centre, size, strict=False))
    return padded[row : row + size[0], column : column + size[1]]


def _stacked(planes: list[NDArray], dtype: type, spec: ImageSpec) -> NDArray:
    return np.stack(planes).astype(dtype) if planes else np.zeros((0, *spec.roi[:2]), dtype)
