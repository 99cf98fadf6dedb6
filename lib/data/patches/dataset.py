"""Draw training patches at random from cases that are held in memory."""

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
from lib.data.patches.augment import Augmentation, change_intensities, cut_patch, draw_matrix
from lib.data.pipeline import IGNORE, ImageSpec, Reading, apply_window, read
from lib.ops.mirror import Mirroring

CENTRED_PROB = 0.7
"""Share of patches that are centred on a labelled voxel. The other patches lie anywhere, to show background."""
VOXELS_KEPT = 20_000
"""Largest number of candidate centres that are kept for a class of a case."""
CACHE_VERSION = 1
"""Increase this number when the reading changes, so that old cache files are not used."""


@dataclass(frozen=True, eq=False)
class _StoredCase:
    """A case in memory, slices first.

    Args:
        intensities: int16 ``(Z, X, Y)``.
        label: uint8 ``(Z, X, Y)``.
        centres: Voxels ``(n, 3)`` of each class, as candidate centres of patches.
        slices: Indices of the slices to draw from. Where only some slices have a label, only those.
        teacher_logits: float16 ``(Z, K, X, Y)``, mapped from a file; None without a teacher.
    """

    intensities: Tensor
    label: Tensor
    centres: dict[int, np.ndarray]
    slices: np.ndarray
    teacher_logits: Tensor | None = None


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches ``{"image": (C, *roi) float32 in [0, 1], "label": (*roi) int64}``; label 255 is ignored by the losses.

    With a 2-D roi, the channels are the slices `spec.slice_offsets` and the label is that of the slice itself. With a
    3-D roi, the patch has one channel. Patch `index` of an epoch depends only on seed, epoch and index.

    With a teacher, a patch also has ``"teacher"``: its logits ``(K, *roi)``, rotated and scaled as the image, and
    ``"seen"``: bool ``(*roi)``, False outside the case and in boxes that augmentation cut out.

    In a mirrored patch, the label values and the channels of ``"teacher"`` are exchanged as `augment.mirroring` says.

    Args:
        cases: Readings with labels, or cases to read. All are held in memory, with 3 bytes per voxel.
        spec: Grid, window, roi and slices.
        classes: Number of classes of the network, with background.
        patches_per_epoch: Length of the dataset.
        seed: Seed of all random choices.
        augment: Ranges and probabilities of the random changes; None leaves patches unchanged.
        cache: Folder for the arrays that were read, named by content and grid, so that the next run starts faster.
        teacher_logits: Logits of a teacher for each case, ``(Z, K, X, Y)`` on its grid. Cases may then have no label.
        allow_unlabelled: Whether cases may have no label without a teacher, for pre-training without labels.
    Raises:
        ValueError: If there is no case, a case has no label, or a label holds a value outside the classes.
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
        teacher_logits: Sequence[np.ndarray] | None = None,
        allow_unlabelled: bool = False,
    ) -> None:
        if not cases:
            raise ValueError("there are no cases to draw patches from: give at least one")
        self.spec, self.classes, self.seed, self.epoch = spec, classes, seed, 0
        self.patches_per_epoch = patches_per_epoch
        self.augmentation = augment
        logits = teacher_logits if teacher_logits is not None else [None] * len(cases)
        self._cases = [
            _store(case, spec, classes, cache, outputs, allow_unlabelled)
            for case, outputs in zip(cases, logits, strict=True)
        ]
        classes_found = sorted({value for case in self._cases for value in case.centres})
        self._cases_with = {
            value: [i for i, case in enumerate(self._cases) if value in case.centres] for value in classes_found
        }

    def set_epoch(self, epoch: int) -> None:
        """Select the patches of an epoch; call this before the loader starts its workers."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.patches_per_epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.views(index, 1)[0]

    def views(self, index: int, count: int) -> list[dict[str, Tensor]]:
        """Return `count` patches at the place of patch `index`, each augmented differently; the first is the patch."""
        if not 0 <= index < self.patches_per_epoch:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        case, centre = self._draw_centre(rng)
        return [self._view(case, centre, rng) for _ in range(count)]

    def _view(self, case: _StoredCase, centre: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        image, label, logits = self._cut(case, centre, rng)
        if self.augmentation:
            image, label = change_intensities(image, label, rng, self.augmentation)
        image = apply_window(image, self.spec.window)
        if len(self.spec.roi) == 3:
            image, label = image.permute(1, 2, 0)[None].contiguous(), label.permute(1, 2, 0)
        if logits is None:
            return {"image": image, "label": self._squeeze(label).long()}
        label, seen = label.chunk(2, 0 if len(self.spec.roi) == 2 else 2)
        teacher = {"teacher": self._squeeze(logits.permute(1, 2, 3, 0), -1), "seen": self._squeeze(seen) != IGNORE}
        return {"image": image, "label": self._squeeze(label).long(), **teacher}

    def _squeeze(self, array: Tensor, axis: int = 0) -> Tensor:
        """Return the array without its slice axis if the roi is 2-D."""
        return array if len(self.spec.roi) == 3 else array.squeeze(axis)

    def _draw_centre(self, rng: np.random.Generator) -> tuple[_StoredCase, np.ndarray]:
        """Return a case and the centre ``(z, x, y)`` of a patch."""
        if self._cases_with and rng.random() < CENTRED_PROB:
            value = list(self._cases_with)[rng.integers(len(self._cases_with))]
            case = self._cases[rng.choice(self._cases_with[value])]
            centres = case.centres[value]
            return case, centres[rng.integers(len(centres))]
        case = self._cases[rng.integers(len(self._cases))]
        z, x, y = rng.integers(0, (len(case.slices), *case.intensities.shape[1:]))
        return case, np.array((case.slices[z], x, y))

    def _cut(
        self, case: _StoredCase, centre: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return intensities ``(S, x, y)``, labels ``(T, x, y)`` and, with a teacher, logits ``(T, K, x, y)``.

        With a teacher, the labels are followed by T more planes that are 0 inside the case and 255 outside.
        """
        how, plane = self.augmentation, self.spec.roi[:2]
        middle, matrix = centre[1:].astype(np.float64), np.eye(2)
        if how:
            middle = middle + rng.uniform(-how.shift_fraction, how.shift_fraction, 2) * plane
            matrix = draw_matrix(rng, how)
        else:
            # Whole samples, so that an unchanged patch is not interpolated.
            middle = middle + (np.array(plane) % 2 - 1) / 2
        slices, label, logits = self._slices(case, int(centre[0]), rng)
        size = plane[0], plane[1]
        exchange = how.mirroring if how and how.mirroring and np.linalg.det(matrix) < 0 else Mirroring()
        if logits is None:
            image, marks = cut_patch(slices, label, middle, size, matrix)
            return image, exchange.exchange_labels(marks), None
        seen = torch.zeros_like(label)
        outputs, _ = cut_patch(logits.flatten(0, 1), label[:1], middle, size, matrix)
        image, marks = cut_patch(slices, torch.cat([label, seen]), middle, size, matrix)
        outputs = outputs.unflatten(0, logits.shape[:2])
        # A teacher with a single class for all labels together has nothing to exchange.
        if logits.shape[1] == self.classes:
            outputs = exchange.exchange_channels(outputs, axis=1)
        return image, exchange.exchange_labels(marks), outputs

    def _slices(self, case: _StoredCase, z: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        depth, logits = len(case.intensities), case.teacher_logits
        if len(self.spec.roi) == 2:
            # The predictor repeats the last slice as well.
            near, here = np.clip(z + np.array(self.spec.slice_offsets), 0, depth - 1), slice(z, z + 1)
            return case.intensities[near], case.label[here], None if logits is None else logits[here]
        size = self.spec.roi[2]
        first = z - size // 2 + (int(rng.integers(-(size // 4), size // 4 + 1)) if self.augmentation else 0)
        first = int(np.clip(first, min(0, depth - size), max(0, depth - size)))
        wanted = np.arange(first, first + size)
        inside = np.clip(wanted, 0, depth - 1)
        label = case.label[inside]
        label[wanted != inside] = IGNORE
        return case.intensities[inside], label, None if logits is None else logits[inside]


def _store(
    case: Reading | Case,
    spec: ImageSpec,
    classes: int,
    cache: Path | None,
    logits: np.ndarray | None,
    allow_unlabelled: bool,
) -> _StoredCase:
    optional = allow_unlabelled or logits is not None
    image, label = _arrays(case, optional) if isinstance(case, Reading) else _cached(case, spec, cache, optional)
    found = [int(value) for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256))]
    if wrong := [value for value in found if classes <= value != IGNORE]:
        name = "a reading" if isinstance(case, Reading) else f"'{case.id}'"
        raise ValueError(f"the label of {name} holds {wrong}, but there are {classes} classes, background included")
    rng = np.random.default_rng(0)
    # In a case without a label, patches are centred on the classes that the teacher predicts.
    marks, values = (label, found) if logits is None or found != [IGNORE] else _predicted(logits)
    centres = {value: _sample(marks, value, rng) for value in values if 0 < value < classes}
    labelled = np.flatnonzero((label != IGNORE).any((1, 2)))
    slices = labelled if len(labelled) and not optional else np.arange(len(image))
    outputs = None if logits is None else torch.from_numpy(logits)
    return _StoredCase(torch.from_numpy(image), torch.from_numpy(label), centres, slices, outputs)


def _predicted(logits: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the classes ``(Z, X, Y)`` that logits ``(Z, K, X, Y)`` predict, and the values in them."""
    label = np.stack([plane.argmax(0) for plane in logits]).astype(np.uint8)
    return label, [int(value) for value in np.unique(label)]


def _sample(label: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `VOXELS_KEPT` voxels ``(n, 3)`` of a class."""
    flat = np.flatnonzero(label.ravel() == value)
    if len(flat) > VOXELS_KEPT:
        flat = rng.choice(flat, VOXELS_KEPT, replace=False)
    return np.stack(np.unravel_index(flat, label.shape), 1).astype(np.int32)


def _arrays(reading: Reading, allow_unlabelled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 intensities and uint8 labels of a case, slice by slice ``(Z, X, Y)``; a missing label is all 255."""
    label = reading.label
    if label is None:
        if not allow_unlabelled:
            raise ValueError("a case without a label cannot be trained on: read it with its label file")
        label = torch.full(reading.intensities.shape[1:], IGNORE, dtype=torch.uint8)
    image = reading.intensities[0].permute(2, 0, 1).round().clamp(-32768, 32767).to(torch.int16)
    return image.contiguous().numpy(), label.permute(2, 0, 1).contiguous().numpy()


def _cached(case: Case, spec: ImageSpec, cache: Path | None, optional: bool) -> tuple[np.ndarray, np.ndarray]:
    if case.label is None and not optional:
        raise ValueError(f"'{case.id}' has no label: label the case or leave it out of the training cases")
    if cache is None:
        return _arrays(read(case.image, spec, case.label), optional)
    files = [case.image] if case.label is None else [case.image, case.label]
    path = cache / f"{content_key(files, CACHE_VERSION, tuple(map(float, spec.spacing_mm)))}.npz"
    if not path.exists():
        image, label = _arrays(read(case.image, spec, case.label), optional)
        # The array is named "hu" in files of earlier versions as well.
        with replacing(path) as temporary:
            np.savez(temporary, hu=image, label=label)
    with np.load(path) as stored:
        return stored["hu"], stored["label"]


def content_key(paths: Sequence[Path], *facts: object) -> str:
    """Return a file name for data that are computed from files: a hash of their content and of other facts.

    Args:
        paths: Files, or folders of one DICOM series each.
        facts: Objects with a stable `repr` that the data depend on, such as a grid.
    Returns:
        32 hexadecimal digits.
    """
    digest = sha256(repr(facts).encode())
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]
