"""Draw training patches at random from cases that are mapped from files or held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lib.data.cases import Case
from lib.data.intensity import Scale
from lib.data.labels.coverage import covers
from lib.data.modality import MR
from lib.data.patches.augment import Augmentation, change_intensities, cut_patch, draw_matrix, draw_matrix_3d
from lib.data.patches.case_cache import CaseArrays, CaseCache
from lib.data.pipeline import IGNORE, ImageSpec, Reading
from lib.ops.mirror import Mirroring

CENTRED_PROB = 0.7
"""Share of patches that are centred on a labelled voxel. The other patches lie anywhere, to show background."""
VOXELS_KEPT = 20_000
"""Largest number of candidate centres that are kept for a class of a case."""


DROPPED_PROB = 0.2
"""Probability that a patch lacks an optional channel although its case has it."""
BIAS_FIELD = 0.4
"""Largest logarithm of the gain of a coil, for images of MR."""


@dataclass(frozen=True, eq=False)
class _StoredCase:
    """A case to draw patches from, slices first.

    Args:
        intensities: Stored intensities, int16 or float32 ``(Z, C, X, Y)``.
        label: uint8 ``(Z, X, Y)``.
        scales: Maps of the channels to the range of the network.
        centres: Voxels ``(n, 3)`` of each class, as candidate centres of patches.
        slices: Indices of the slices to draw from. Where only some slices have a label, only those.
        covered: Whether the label covers each class, bool ``(K,)``; True for the background.
        teacher_logits: float16 ``(Z, K, X, Y)``, mapped from a file; None without a teacher.
    """

    intensities: Tensor
    label: Tensor
    scales: tuple[Scale, ...]
    centres: dict[int, np.ndarray]
    slices: np.ndarray
    covered: Tensor
    teacher_logits: Tensor | None = None


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches ``{"image": (C, *roi) float32, "label": (*roi) int64}``; label 255 is ignored by the losses.

    With a 2-D roi, the channels are those of the slices `spec.slice_offsets`, slice by slice, and the label is that of
    the slice itself. With a 3-D roi, they are those of the image. Patch `index` of an epoch depends only on seed, epoch
    and index.

    With a teacher, a patch also has ``"teacher"``: its logits ``(K, *roi)``, rotated and scaled as the image, and
    ``"seen"``: bool ``(*roi)``, False outside the case and in boxes that augmentation cut out.

    If a label does not cover all classes, every patch has ``"covered"``: bool ``(K,)``, the classes that its own label
    covers.

    In a mirrored patch, the label values, ``"covered"`` and the channels of ``"teacher"`` are exchanged as
    `augment.mirroring` says.

    Args:
        cases: Readings with labels, or cases to read. Without a cache they are held in memory, with 3 to 5 bytes per
            voxel.
        spec: Grid, intensities, roi and slices.
        classes: Number of classes of the network, with background.
        labels: Names of the classes 1, 2, ...; needed if a label does not cover all of them.
        patches_per_epoch: Length of the dataset.
        seed: Seed of all random choices.
        augment: Ranges and probabilities of the random changes; None leaves patches unchanged.
        cache: Folder of the arrays that were read, by content and grid. They are mapped from there, so that cases may
            exceed the memory, and the next run starts faster.
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
        labels: Sequence[str] = (),
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
        self.augmentation = replace(augment, bias_field=BIAS_FIELD) if augment and spec.modality == MR else augment
        logits = teacher_logits if teacher_logits is not None else [None] * len(cases)
        arrays = CaseCache(cache, spec)
        self._cases = [
            _store(
                arrays.load(case, optional=allow_unlabelled or outputs is not None),
                case,
                _covered(case, classes, labels),
                outputs,
            )
            for case, outputs in zip(cases, logits, strict=True)
        ]
        self._is_partial = not all(case.covered.all() for case in self._cases)
        arrays.report()
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
        image, label, logits, covered = self._cut(case, centre, rng)
        extra = {"covered": covered} if self._is_partial else {}
        image = torch.stack([scale.usual(image[:, c]) for c, scale in enumerate(case.scales)], 1)
        if self.augmentation:
            image, label = change_intensities(image, label, rng, self.augmentation)
        scales = self._drop_channels(case.scales, rng)
        image = torch.stack([scale.finish(image[:, c]) for c, scale in enumerate(scales)], 1)
        if len(self.spec.roi) == 3:
            image, label = image.permute(1, 2, 3, 0).contiguous(), label.permute(1, 2, 0)
        else:
            image = image.flatten(0, 1)
        if logits is None:
            return {"image": image, "label": self._squeeze(label).long(), **extra}
        label, seen = label.chunk(2, 0 if len(self.spec.roi) == 2 else 2)
        teacher = {"teacher": self._squeeze(logits.permute(1, 2, 3, 0), -1), "seen": self._squeeze(seen) != IGNORE}
        return {"image": image, "label": self._squeeze(label).long(), **teacher, **extra}

    def _drop_channels(self, scales: tuple[Scale, ...], rng: np.random.Generator) -> tuple[Scale, ...]:
        """Return the maps of a patch, in which each optional channel may count as missing."""
        if not self.augmentation or not self.spec.optional:
            return scales
        dropped = {channel for channel in self.spec.optional if rng.random() < DROPPED_PROB}
        return tuple(replace(scale, missing=scale.missing or c in dropped) for c, scale in enumerate(scales))

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
        z, x, y = rng.integers(0, (len(case.slices), *case.label.shape[1:]))
        return case, np.array((case.slices[z], x, y))

    def _cut(
        self, case: _StoredCase, centre: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Return intensities ``(S, C, x, y)``, labels ``(T, x, y)``, logits ``(T, K, x, y)`` and coverage ``(K,)``.

        The logits are None without a teacher.
        With a teacher, the labels are followed by T more planes that are 0 inside the case and 255 outside.
        """
        place, matrix = (self._place_3d if len(self.spec.roi) == 3 else self._place_2d)(case, centre, rng)
        exchange = Mirroring()
        if self.augmentation and self.augmentation.mirroring and np.linalg.det(matrix) < 0:
            exchange = self.augmentation.mirroring
        if len(self.spec.roi) == 3:
            image, marks, outputs = self._cut_3d(case, place, matrix)
        else:
            image, marks, outputs = self._cut_2d(case, int(centre[0]), place, matrix)
        # A teacher with a single class for all labels together has nothing to exchange.
        if outputs is not None and outputs.shape[1] == self.classes:
            outputs = exchange.exchange_channels(outputs, axis=1)
        return image, exchange.exchange_labels(marks), outputs, exchange.exchange_channels(case.covered, axis=0)

    def _place_2d(
        self, case: _StoredCase, centre: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the centre of a patch ``(x, y)`` and its matrix."""
        how, plane, middle = self.augmentation, self.spec.roi, centre[1:].astype(np.float64)
        if how is None:
            # Whole samples, so that an unchanged patch is not interpolated.
            return middle + (np.array(plane) % 2 - 1) / 2, np.eye(2)
        return middle + rng.uniform(-how.shift_fraction, how.shift_fraction, 2) * plane, draw_matrix(rng, how)

    def _place_3d(
        self, case: _StoredCase, centre: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the centre of a patch ``(z, x, y)`` and its matrix; the patch lies inside the case if it fits."""
        how, shape = self.augmentation, np.array(case.label.shape)
        size = np.array([self.spec.roi[2], *self.spec.roi[:2]])
        shift = how.shift_fraction if how else 0.0
        middle = centre + rng.uniform(-shift, shift, 3) * size if how else centre + (size % 2 - 1) / 2
        half, ends = (size - 1) / 2, shape - 1
        inside = np.clip(middle, half, np.maximum(half, ends - half))
        # Where the patch is larger than the case, the case lies anywhere in the patch if augmented, else at its start.
        loose = size > shape
        inside[loose] = (ends / 2 + rng.uniform(-1, 1, 3) * (half - ends / 2))[loose] if how else half[loose]
        return inside, draw_matrix_3d(rng, how, self.spec.spacing_mm) if how else np.eye(3)

    def _cut_2d(
        self, case: _StoredCase, z: int, place: np.ndarray, matrix: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        # The predictor repeats the last slice as well.
        near, here = np.clip(z + np.array(self.spec.slice_offsets), 0, len(case.intensities) - 1), slice(z, z + 1)
        slices, label, logits = case.intensities[near], case.label[here], case.teacher_logits
        size, counts = self.spec.roi, slices.shape[:2]
        if logits is None:
            image, marks = cut_patch(slices.flatten(0, 1), label, place, size, matrix)
            return image.unflatten(0, counts), marks, None
        outputs, _ = cut_patch(logits[here].flatten(0, 1), label, place, size, matrix)
        both = torch.cat([label, torch.zeros_like(label)])
        image, marks = cut_patch(slices.flatten(0, 1), both, place, size, matrix)
        return image.unflatten(0, counts), marks, outputs[None]

    def _cut_3d(self, case: _StoredCase, place: np.ndarray, matrix: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        size = [self.spec.roi[2], *self.spec.roi[:2]]
        slices, label, logits = case.intensities.transpose(0, 1), case.label[None], case.teacher_logits
        if logits is None:
            image, marks = cut_patch(slices, label, place, size, matrix)
            return image.transpose(0, 1), marks[0], None
        outputs, _ = cut_patch(logits.transpose(0, 1), label, place, size, matrix)
        both = torch.cat([label, torch.zeros_like(label)])
        image, marks = cut_patch(slices, both, place, size, matrix)
        return image.transpose(0, 1), marks.flatten(0, 1), outputs.transpose(0, 1)


def _covered(case: Reading | Case, classes: int, labels: Sequence[str]) -> Tensor:
    """Return whether the label of a case covers each class, bool ``(K,)``."""
    known = case.covered if isinstance(case, Case) else None
    return torch.ones(classes, dtype=torch.bool) if known is None else torch.tensor((True, *covers(known, labels)))


def _store(arrays: CaseArrays, case: Reading | Case, covered: Tensor, logits: np.ndarray | None) -> _StoredCase:
    image, label, classes = arrays.image, arrays.label, len(covered)
    found = [int(value) for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256))]
    if wrong := [value for value in found if classes <= value != IGNORE]:
        name = "a reading" if isinstance(case, Reading) else f"'{case.id}'"
        raise ValueError(f"the label of {name} holds {wrong}, but there are {classes} classes, background included")
    if drawn := [value for value in found if value != IGNORE and not covered[value]]:
        name = case.id if isinstance(case, Case) else "a reading"
        raise ValueError(f"the label of '{name}' holds {drawn}, which it does not cover: correct what it covers")
    rng = np.random.default_rng(0)
    # In a case without a label, patches are centred on the classes that the teacher predicts.
    marks, values = (label, found) if logits is None or found != [IGNORE] else _predicted(logits)
    centres = {value: _sample(marks, value, rng) for value in values if 0 < value < classes}
    labelled = np.flatnonzero((label != IGNORE).any((1, 2)))
    slices = labelled if len(labelled) and not arrays.optional else np.arange(len(image))
    outputs = None if logits is None else torch.from_numpy(logits)
    tensors = torch.from_numpy(image), torch.from_numpy(label)
    return _StoredCase(*tensors, arrays.scales, centres, slices, covered, outputs)


def _predicted(logits: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the classes ``(Z, X, Y)`` that logits ``(Z, K, X, Y)`` predict, and the values in them."""
    label = np.stack([plane.argmax(0) for plane in logits]).astype(np.uint8)
    return label, [int(value) for value in np.unique(label)]


def _sample(label: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `VOXELS_KEPT` voxels ``(n, 3)`` of a class."""
    flat = np.flatnonzero(label.ravel() == value)
    if len(flat) > VOXELS_KEPT:
        flat = rng.choice(flat, VOXELS_KEPT, replace=False)
    # Small integers: 500 cases with 5 classes keep 300 MB of places.
    kind = np.int16 if max(label.shape) <= np.iinfo(np.int16).max else np.int32
    return np.stack(np.unravel_index(flat, label.shape), 1).astype(kind)
