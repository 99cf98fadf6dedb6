"""Measure what images and labels have in common: size, spacing, intensities, and volume and form of each label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.cases import Case
from lib.data.findings import InputRejected
from lib.data.formats import Volume, read_header
from lib.data.labels.values import IGNORE
from lib.data.modality import ANY, CT, MODALITIES, RGB
from lib.data.validate import check, inspect
from lib.data.volumes.colour import COLOURS
from lib.data.volumes.geometry import turn_to_ras
from lib.evaluation.metrics.topology import betti_numbers
from lib.ops.skeleton import skeleton
from lib.planning.label_values import describe, read_values

MAX_IMAGES = 40
"""Number of images that are read; more are sampled evenly."""
MAX_FORMS = 6
"""Number of labels per class whose form is measured, which takes seconds on a large label."""
MAX_FORM_VOXELS = 2_000_000
MIN_LENGTHS = 5.0
"""Length of the centreline of a tube, in diameters."""
SHARE = 0.8
"""Share of the cases that must agree."""


@dataclass(frozen=True)
class LabelFacts:
    """Facts about one label.

    Args:
        name: Its name.
        value: Its value in the app.
        cases: Number of measured cases that have it.
        volume_ml: Median volume in ml; of a 2-D image the area in square mm, or in pixels where the size is unknown.
        extent: Median extent in voxels towards right, anterior and superior.
        is_tubular: Whether it is a tube or a tree of tubes in most cases.
        is_one_piece: Whether it has one component in nearly all cases.
    """

    name: str
    value: int
    cases: int
    volume_ml: float
    extent: tuple[float, float, float]
    is_tubular: bool
    is_one_piece: bool


@dataclass(frozen=True)
class Fingerprint:
    """What the images of an app have in common.

    Args:
        images: Number of images.
        labelled: Number of images with a label that can be used.
        shape: Median size in voxels towards right, anterior and superior; the last is 1 for 2-D images.
        spacing_mm: Median spacing in the same order.
        channels: Values per voxel.
        dicom: DICOM modalities found, without repetition.
        looks_like_ct: Whether nearly all images have plausible Hounsfield units.
        low, high: Medians of the percentiles 0.5 and 99.5 of the intensities, inside the labels if there are any.
        spread: Largest ratio of the upper percentile between two images.
        labels: Facts about the labels.
        refused: Code and reason by name of each case that cannot be used.
    """

    images: int
    labelled: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    channels: int
    dicom: tuple[str, ...]
    looks_like_ct: bool
    low: float
    high: float
    spread: float
    labels: tuple[LabelFacts, ...]
    refused: Mapping[str, str]

    @property
    def is_flat(self) -> bool:
        """Whether the images are 2-D."""
        return self.shape[2] == 1


@dataclass(frozen=True)
class _Measured:
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    channels: int
    dicom: str
    is_ct: bool
    percentiles: tuple[float, float]
    labels: Mapping[int, tuple[float, NDArray[np.int_], bool | None, bool | None]]


def measure(
    cases: Sequence[Case], sources: Mapping[str, int], progress: Callable[[int, int], None] = lambda done, total: None
) -> Fingerprint:
    """Return the fingerprint of images and their labels.

    Args:
        cases: Images, with labels where there are any.
        sources: Value of each label in the label files; see `lib.planning.label_values.find_labels`.
        progress: Called with the number of images that are read and their total.
    Raises:
        ValueError: If no image can be read, or the images are of several kinds, which one app cannot take.
    """
    picked = _pick(cases)
    found: list[_Measured] = []
    refused: dict[str, str] = {}
    forms: dict[int, int] = {}
    kinds: dict[str, list[str]] = {}
    for done, case in enumerate(picked, start=1):
        try:
            found.append(_measure(case, sources, forms))
            kinds.setdefault(_kind(found[-1]), []).append(case.id)
        except InputRejected as rejected:
            refused[case.id] = describe(rejected)
        progress(done, len(picked))
    if not found:
        some = next(iter(refused.items()))
        raise ValueError(f"none of {len(picked)} images can be read; '{some[0]}': {some[1]}")
    if len(kinds) > 1:
        some = "; ".join(f"{kind} ({len(names)}, for example '{names[0]}')" for kind, names in kinds.items())
        raise ValueError(
            f"the images are of several kinds: {some}. Make an app for each kind, from a folder of its own"
        )
    shapes, spacings = np.array([one.shape for one in found]), np.array([one.spacing_mm for one in found])
    highs = [max(abs(one.percentiles[1]), 1e-6) for one in found]
    return Fingerprint(
        images=len(cases),
        labelled=sum(case.label is not None and case.id not in refused for case in cases),
        shape=tuple(int(n) for n in np.median(shapes, axis=0)),  # type: ignore[arg-type]
        spacing_mm=tuple(float(f"{n:.4g}") for n in np.median(spacings, axis=0)),  # type: ignore[arg-type]
        channels=int(np.median([one.channels for one in found])),
        dicom=tuple(sorted({one.dicom for one in found} - {""})),
        looks_like_ct=float(np.mean([one.is_ct for one in found])) >= SHARE,
        low=float(np.median([one.percentiles[0] for one in found])),
        high=float(np.median([one.percentiles[1] for one in found])),
        spread=max(highs) / min(highs),
        labels=tuple(_label_facts(found, list(sources))),
        refused=refused,
    )


def _kind(one: _Measured) -> str:
    """Return what must be the same in all images of an app: dimensions, channels and DICOM modality."""
    modality = next((name for name, accepted in MODALITIES.items() if one.dicom in accepted), one.dicom)
    parts = ("2-D" if one.shape[2] == 1 else "3-D", "colour" if one.channels == COLOURS else "grey", modality)
    return " ".join(filter(None, parts))


def _pick(cases: Sequence[Case]) -> list[Case]:
    """Return at most `MAX_IMAGES` cases, evenly spread; those with a label first."""
    labelled = [case for case in cases if case.label]
    pool = labelled or list(cases)
    return [pool[k] for k in np.unique(np.linspace(0, len(pool) - 1, min(MAX_IMAGES, len(pool))).astype(int))]


def _measure(case: Case, sources: Mapping[str, int], forms: dict[int, int]) -> _Measured:
    volume = _load(case)
    voxels, affine = turn_to_ras(volume.voxels, volume.affine)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    inside: NDArray[np.bool_] | None = None
    facts: dict[int, tuple[float, NDArray[np.int_], bool | None, bool | None]] = {}
    if case.label is not None:
        label = read_values(case.label, read_header(case.image), sources)
        label, _ = turn_to_ras(label, volume.affine)
        inside = (label > 0) & (label != IGNORE)
        for value in np.unique(label[inside]).tolist():
            facts[int(value)] = _measure_label(label == value, spacing_mm, int(value), forms)
    values = voxels[inside] if inside is not None and inside.any() else voxels
    step = max(1, values.size // 200_000)
    low, high = np.percentile(values.ravel()[::step], (0.5, 99.5))
    is_ct = volume.voxels.ndim == 3 and not volume.others and not inspect(volume, modality=CT)
    header = volume.header
    return _Measured(
        voxels.shape,
        tuple(spacing_mm.tolist()),
        len(volume.others) + 1,
        (header.modality if header else None) or "",
        is_ct,
        (float(low), float(high)),
        facts,
    )


def _load(case: Case) -> Volume:
    """Return an image of any modality; three channels are a colour photograph.

    Raises:
        InputRejected: If it cannot be read.
    """
    try:
        return check(case.image, modality=RGB)
    except InputRejected:
        return check(case.image, modality=ANY)


def _measure_label(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64], value: int, forms: dict[int, int]
) -> tuple[float, NDArray[np.int_], bool | None, bool | None]:
    """Return volume, extent in voxels, and whether the label is a tube and in one piece; None where not measured."""
    places = np.argwhere(mask)
    low, high = places.min(0), places.max(0) + 1
    volume = float(mask.sum()) * float(np.prod(spacing_mm)) / (1000 if mask.shape[2] > 1 else 1)
    cut = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if forms.get(value, 0) >= MAX_FORMS or cut.size > MAX_FORM_VOXELS:
        return volume, high - low, None, None
    forms[value] = forms.get(value, 0) + 1
    flat = cut[..., 0] if mask.shape[2] == 1 else cut
    return volume, high - low, _is_tube(flat, spacing_mm), betti_numbers(flat)[0] == 1


def _is_tube(mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> bool:
    """Return whether the centreline of a mask is many diameters long.

    The diameter is that of a cylinder, or the width of a band in 2-D, with the size and the length of the mask.
    """
    steps = spacing_mm[: mask.ndim]
    length = float(skeleton(mask).sum()) * float(steps.mean())
    size = float(mask.sum()) * float(np.prod(steps))
    if not length:
        return False
    across = size / length
    diameter = across if mask.ndim == 2 else 2 * np.sqrt(across / np.pi)
    return length > MIN_LENGTHS * diameter


def _label_facts(found: Sequence[_Measured], names: Sequence[str]) -> list[LabelFacts]:
    facts = []
    for value, name in enumerate(names, start=1):
        own = [one.labels[value] for one in found if value in one.labels]
        tubes, pieces = ([one[k] for one in own if one[k] is not None] for k in (2, 3))
        extent = np.median([one[1] for one in own], axis=0) if own else np.zeros(3)
        facts.append(
            LabelFacts(
                name,
                value,
                len(own),
                float(np.median([one[0] for one in own])) if own else 0.0,
                tuple(extent.tolist()),
                bool(tubes) and float(np.mean(tubes)) > 0.5,  # type: ignore[arg-type]
                bool(pieces) and float(np.mean(pieces)) >= SHARE,  # type: ignore[arg-type]
            )
        )
    return facts
