"""The training set of the learning loop: patches around the parts to learn, drawn anew from every case."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.data.patches.augment import Augmentation, change, cut, draw_matrix
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read, window

CENTRED_PROB = 0.7
"""Share of patches centred in a class; the rest lie anywhere, to see what is not an airway."""
VOXELS_KEPT = 20_000
CACHE_VERSION = 1
"""Raise when the reading changes, so that old cache files are passed over."""


@dataclass(frozen=True, eq=False)
class _Stored:
    """A case in memory, slices first: int16 HU and uint8 labels ``(Z, X, Y)``, and where each class is.

    `slices` are those that teach something: where somebody drew some slices only, the others teach nothing. Beside
    them, not in memory, may be a teacher's logits, float16 ``(Z, K, X, Y)``.
    """

    hu: Tensor
    label: Tensor
    places: dict[int, np.ndarray]
    slices: np.ndarray
    soft: Tensor | None = None


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches ``{"image": (C, *roi) float32 in [0, 1], "label": (*roi) int64}``, 255 where nothing is to be learned.

    A 2-D roi gives the slices `spec.slice_offsets` as channels and the label of the slice itself, a 3-D roi a box with
    one channel. Patch `index` of an epoch depends on seed, epoch and index only, whichever worker draws it.

    With a teacher's logits, a patch has them as well, ``"teacher"`` ``(K, *roi)``, turned and scaled as the image is,
    and ``"seen"`` ``(*roi)``, bool: not outside the case, nor in a hole that augmentation made.

    Args:
        cases: Readings with labels, or cases to read. All are held in memory, at 3 bytes a voxel.
        spec: Grid, window, roi and slices.
        classes: Classes of the network, background included.
        patches_per_epoch: Length of the set.
        seed: Of everything random here.
        augment: How patches change at random; None leaves them as they are.
        cache: Folder for what was read, by content and grid; a later run then starts at once.
        soft: A teacher's logits of every case, ``(Z, K, X, Y)`` on its grid; a case may then have no label.
        bare: Whether cases may have no label all the same, for lessons that need none.
    Raises:
        ValueError: If a case has no label or one outside the classes, or there is no case.
    """

    def __init__(
        self,
        cases: Sequence[Reading | Case],
        spec: ImageSpec,
        *,
        classes: int,
        patches_per_epoch: int,
        seed: int = 0,
        augment: Augmentation | None = Augmentation(),  # noqa: B008 - frozen
        cache: Path | None = None,
        soft: Sequence[np.ndarray] | None = None,
        bare: bool = False,
    ) -> None:
        if not cases:
            raise ValueError("there are no cases to draw patches from")
        self.spec, self.seed, self.epoch = spec, seed, 0
        self.patches_per_epoch = patches_per_epoch
        self.augmentation = augment
        outputs = soft if soft is not None else [None] * len(cases)
        self._cases = [
            _store(case, spec, classes, cache, each, bare) for case, each in zip(cases, outputs, strict=True)
        ]
        names = sorted({name for case in self._cases for name in case.places})
        self._holders = {name: [i for i, case in enumerate(self._cases) if name in case.places] for name in names}

    def set_epoch(self, epoch: int) -> None:
        """Draw other patches from here on; call it before the loader starts its workers."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.patches_per_epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.views(index, 1)[0]

    def views(self, index: int, count: int) -> list[dict[str, Tensor]]:
        """Return the place of a patch as many times, changed anew each time; the first is the patch itself."""
        if not 0 <= index < self.patches_per_epoch:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        case, centre = self._place(rng)
        return [self._view(case, centre, rng) for _ in range(count)]

    def _view(self, case: _Stored, centre: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        hu, label, soft = self._cut(case, centre, rng)
        if self.augmentation:
            hu, label = change(hu, label, rng, self.augmentation)
        image = window(hu, self.spec.window_hu)
        if len(self.spec.roi) == 3:
            image, label = image.permute(1, 2, 0)[None].contiguous(), label.permute(1, 2, 0)
        if soft is None:
            return {"image": image, "label": self._flat(label).long()}
        label, seen = label.chunk(2, 0 if len(self.spec.roi) == 2 else 2)
        known = {"teacher": self._flat(soft.permute(1, 2, 3, 0), -1), "seen": self._flat(seen) != IGNORE}
        return {"image": image, "label": self._flat(label).long(), **known}

    def _flat(self, marks: Tensor, axis: int = 0) -> Tensor:
        """Return marks without their axis of slices, where a patch is one."""
        return marks if len(self.spec.roi) == 3 else marks.squeeze(axis)

    def _place(self, rng: np.random.Generator) -> tuple[_Stored, np.ndarray]:
        """Return a case and the middle ``(z, x, y)`` of the patch."""
        if self._holders and rng.random() < CENTRED_PROB:
            name = list(self._holders)[rng.integers(len(self._holders))]
            case = self._cases[rng.choice(self._holders[name])]
            places = case.places[name]
            return case, places[rng.integers(len(places))]
        case = self._cases[rng.integers(len(self._cases))]
        z, x, y = rng.integers(0, (len(case.slices), *case.hu.shape[1:]))
        return case, np.array((case.slices[z], x, y))

    def _cut(self, case: _Stored, centre: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return HU ``(S, x, y)``, labels ``(T, x, y)`` and, of a taught case, logits ``(T, K, x, y)``.

        The labels of a taught case are followed by as many planes that are 0 wherever the teacher saw the image.
        """
        how, plane = self.augmentation, self.spec.roi[:2]
        middle, matrix = centre[1:].astype(np.float64), np.eye(2)
        if how:
            middle = middle + rng.uniform(-how.shift_fraction, how.shift_fraction, 2) * plane
            matrix = draw_matrix(rng, how)
        else:
            # Whole samples, so that nothing is interpolated in an unchanged patch.
            middle = middle + (np.array(plane) % 2 - 1) / 2
        slices, label, soft = self._slices(case, int(centre[0]), rng)
        size = plane[0], plane[1]
        if soft is None:
            return *cut(slices, label, middle, size, matrix), None
        seen = torch.zeros_like(label)
        logits, _ = cut(soft.flatten(0, 1), label[:1], middle, size, matrix)
        return *cut(slices, torch.cat([label, seen]), middle, size, matrix), logits.unflatten(0, soft.shape[:2])

    def _slices(self, case: _Stored, z: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        depth = len(case.hu)
        if len(self.spec.roi) == 2:
            # The predictor repeats the last slice as well.
            near, here = np.clip(z + np.array(self.spec.slice_offsets), 0, depth - 1), slice(z, z + 1)
            return case.hu[near], case.label[here], None if case.soft is None else case.soft[here]
        size = self.spec.roi[2]
        first = z - size // 2 + (int(rng.integers(-(size // 4), size // 4 + 1)) if self.augmentation else 0)
        first = int(np.clip(first, min(0, depth - size), max(0, depth - size)))
        wanted = np.arange(first, first + size)
        inside = np.clip(wanted, 0, depth - 1)
        label = case.label[inside]
        label[wanted != inside] = IGNORE
        return case.hu[inside], label, None if case.soft is None else case.soft[inside]


def _store(
    case: Reading | Case, spec: ImageSpec, classes: int, cache: Path | None, soft: np.ndarray | None, bare: bool
) -> _Stored:
    unasked = bare or soft is not None
    hu, label = _arrays(case, unasked) if isinstance(case, Reading) else _cached(case, spec, cache, unasked)
    found = [int(value) for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256))]
    if wrong := [value for value in found if classes <= value != IGNORE]:
        name = "a reading" if isinstance(case, Reading) else f"'{case.id}'"
        raise ValueError(f"the label of {name} holds {wrong}, but there are {classes} classes, background included")
    rng = np.random.default_rng(0)
    # Where nobody drew a label, the teacher's says where there is something to learn.
    marks, shown = (label, found) if soft is None or found != [IGNORE] else _drawn(soft)
    places = {value: _sample(marks, value, rng) for value in shown if 0 < value < classes}
    drawn = np.flatnonzero((label != IGNORE).any((1, 2)))
    slices = drawn if len(drawn) and not unasked else np.arange(len(hu))
    return _Stored(
        torch.from_numpy(hu), torch.from_numpy(label), places, slices, None if soft is None else torch.from_numpy(soft)
    )


def _drawn(soft: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the label that logits ``(Z, K, X, Y)`` draw, and the values in it."""
    label = np.stack([logits.argmax(0) for logits in soft]).astype(np.uint8)
    return label, [int(value) for value in np.unique(label)]


def _sample(label: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    """Return some of the voxels ``(n, 3)`` of a class."""
    flat = np.flatnonzero(label.ravel() == value)
    if len(flat) > VOXELS_KEPT:
        flat = rng.choice(flat, VOXELS_KEPT, replace=False)
    return np.stack(np.unravel_index(flat, label.shape), 1).astype(np.int32)


def _arrays(reading: Reading, unasked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 HU and uint8 labels, both ``(Z, X, Y)``; without a label, 255 everywhere."""
    label = reading.label
    if label is None:
        if not unasked:
            raise ValueError("a reading without a label cannot be trained on")
        label = torch.full(reading.hu.shape[1:], IGNORE, dtype=torch.uint8)
    hu = reading.hu[0].permute(2, 0, 1).round().clamp(-32768, 32767).to(torch.int16)
    return hu.contiguous().numpy(), label.permute(2, 0, 1).contiguous().numpy()


def _cached(case: Case, spec: ImageSpec, cache: Path | None, unasked: bool) -> tuple[np.ndarray, np.ndarray]:
    if case.label is None and not unasked:
        raise ValueError(f"'{case.id}' has no label")
    if cache is None:
        return _arrays(read(case.image, spec, case.label), unasked)
    files = [case.image] if case.label is None else [case.image, case.label]
    path = cache / f"{content_key(files, CACHE_VERSION, tuple(map(float, spec.spacing_mm)))}.npz"
    if not path.exists():
        hu, label = _arrays(read(case.image, spec, case.label), unasked)
        with replacing(path) as temporary:
            np.savez(temporary, hu=hu, label=label)
    with np.load(path) as stored:
        return stored["hu"], stored["label"]


def content_key(paths: Sequence[Path], *facts: object) -> str:
    """Return a name for what is made of files: by their content, and by facts that it depends on.

    Args:
        paths: Files, or folders of one DICOM series.
        facts: Anything with a `repr` that stays, such as a grid.
    Returns:
        32 hexadecimal digits.
    """
    digest = sha256(repr(facts).encode())
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]
