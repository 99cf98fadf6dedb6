"""Choose how an app reads its images and trains, each choice with its reason."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lib.data.intensity import PERCENTILE, UNIT, WINDOW, ZSCORE
from lib.data.modality import ANY, CT, MODALITIES, MR, PT, RGB
from lib.data.patches.sides import mirror_pairs, sided_labels
from lib.planning.fingerprint import Fingerprint

STRIDE = 8
"""Sides of a patch are multiples of this many samples."""
MIN_SIDE_3D, MIN_SIDE_2D, MAX_SIDE_2D = 16, 64, 384
ANISOTROPIC = 3.0
"""Ratio of the slice distance to the pixel spacing from which slices are segmented one by one."""
WHOLE_STRUCTURE = 1.25
"""A patch shows a label whole if it is this much larger than the label's extent."""
MIN_STEPS = 800
"""Least number of training steps in the time that is given; a smaller patch is chosen for fewer."""
PATCH_VOXELS = {3: (1 << 20, 1 << 19, 1 << 18, 1 << 17, 1 << 16, 1 << 15), 2: (384**2, 320**2, 256**2, 192**2, 128**2)}
"""Sizes of a patch that are tried, largest first, by its number of dimensions."""
BATCH = {3: 2, 2: 6}
NEIGHBOURS = (-1, 0, 1)
REFERENCE = "reference"
"""Name of the first channel, which annotators see."""
CT_WINDOW = (-1000.0, 1000.0)
NETWORKS = {3: "segresnet", 2: "dynunet_small"}
BOTH_SIDES = r"(?i)^(.+?)[_-]?(?:l|r|od|os|left|right)$"
"""Finds the patient in a name that ends with the side, as of eyes, breasts or knees."""
_MODALITY_WORDS = {
    CT: ("ct", "cect", "ncct"),
    MR: ("mr", "mri", "t1", "t2", "t1w", "t2w", "flair", "pd", "adc", "dwi", "bold", "t1gd", "t1c", "t2star"),
    PT: ("pet", "pt"),
    RGB: ("rgb", "colour", "color", "r"),
}


@dataclass(frozen=True)
class Choice:
    """A value of app.toml with the reason for it."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """Choices for an app with one segmentation task and one click task.

    Args:
        labels: Names of the labels; their values are 1, 2, ...
        choices: Each choice by the key of app.toml.
        notes: What the owner of the app should know.
    """

    labels: tuple[str, ...]
    choices: Mapping[str, Choice]
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __getitem__(self, key: str) -> Any:
        """Return the chosen value of a key."""
        return self.choices[key].value


StepTimer = Callable[[str, Sequence[int], int, int], float]
"""Returns the seconds of one training step: name of the network, patch, batch, input channels."""


def choose(
    found: Fingerprint,
    labels: Sequence[str],
    names: Sequence[str] = (),
    *,
    minutes: float,
    stated: str,
    time_step: StepTimer,
    channels: Mapping[str, tuple[str, int]] = MappingProxyType({}),
) -> Plan:
    """Return the plan for images with a fingerprint.

    Args:
        found: The fingerprint.
        labels: Names of the labels.
        names: Names of the images.
        minutes: Minutes that a training may take on this machine.
        stated: What the data set says its images are, such as "MRI"; empty if nothing.
        time_step: Measures a training step on this machine.
        channels: Pattern of the files and number of the cases that have it, by the name of each further channel.
    """
    choices: dict[str, Choice] = {"modality": _modality(found, stated)}
    modality = choices["modality"].value
    choices["intensity"], choices["window"] = _intensity(found, modality)
    choices["spacing_mm"] = _spacing(found)
    if channels:
        choices["channels"] = _channels(found, channels, choices["intensity"].value)
    dims = _dimensions(found)
    count = (3 if modality == RGB else 1) + len(channels)
    patch = _patch(found, dims.value, choices["spacing_mm"].value, count, minutes, time_step)
    if dims.value == 3 and not _fits(found, patch[0].value, choices["spacing_mm"].value):
        reason = "a 3-D patch that this machine trains in the given time would be smaller than the largest label"
        dims = Choice(2, reason)
        patch = _patch(found, 2, choices["spacing_mm"].value, count, minutes, time_step)
    choices["dimensions"] = dims
    choices["roi"], choices["batch_size"], choices["model"] = patch
    if dims.value == 2 and not found.is_flat:
        choices["slice_offsets"] = Choice(list(NEIGHBOURS), "a slice is segmented with its two neighbours as context")
    choices["max_minutes"] = Choice(float(minutes), "the time that was given; the learning rate decays within it")
    choices |= _forms(found, labels)
    sided = [match[1] for name in names if (match := re.match(BOTH_SIDES, name))]
    if len(sided) > len(names) / 2 and len(set(sided)) < len(sided):
        reason = "names end with the side of one patient, who must not be trained on and held out at once"
        choices["patient_pattern"] = Choice(BOTH_SIDES, reason)
    return Plan(tuple(labels), choices, tuple(_notes(found)))


def _modality(found: Fingerprint, stated: str) -> Choice:
    for name, accepted in MODALITIES.items():
        if found.dicom and accepted and set(found.dicom) <= set(accepted):
            return Choice(name, f"the DICOM modality is {', '.join(found.dicom)}")
    words = stated.lower().replace("-", " ").replace("_", " ").split()
    for name, known in _MODALITY_WORDS.items():
        if any(word in known for word in words):
            return Choice(name, f"the data set says '{stated}'")
    if found.channels == 3:
        return Choice(RGB, "the images have three channels")
    if found.looks_like_ct:
        return Choice(CT, "air, water and bone have plausible Hounsfield units")
    if found.is_flat:
        return Choice(ANY, "2-D grey images, which may be X-rays or ultrasound; no other choice depends on it")
    if found.low >= 0:
        differ = f" and differ {found.spread:.3g}-fold between images" if found.spread > 1.5 else ""
        return Choice(MR, f"a guess: intensities are no Hounsfield units, not negative{differ}; correct it if wrong")
    return Choice(ANY, "intensities are no Hounsfield units, and no file says what the images are")


def _intensity(found: Fingerprint, modality: str) -> tuple[Choice, Choice]:
    none = Choice(None, "")
    if modality == CT:
        if not found.labelled:
            return Choice(WINDOW, "Hounsfield units mean the same in every scan"), Choice(
                list(CT_WINDOW), "from air to bone, until labels say more"
            )
        low, high = found.low, found.high
        margin = max(0.25 * (high - low), 50.0)
        window = [float(math.floor((low - margin) / 10) * 10), float(math.ceil((high + margin) / 10) * 10)]
        reason = f"99 % of the labelled voxels lie between {low:.0f} and {high:.0f} HU; a quarter more on both sides"
        return Choice(WINDOW, "Hounsfield units mean the same in every scan"), Choice(window, reason)
    if modality == RGB:
        return Choice(UNIT, "colours are stored in a fixed range"), none
    if modality == MR or (modality == ANY and not found.is_flat):
        return Choice(ZSCORE, "the scale of the intensities differs between scans"), none
    return Choice(PERCENTILE, "the range of the intensities differs between images"), none


def _channels(found: Fingerprint, channels: Mapping[str, tuple[str, int]], intensity: str) -> Choice:
    """Return the channels; those that some cases lack are optional."""
    tables: list[dict[str, Any]] = [{"name": REFERENCE}]
    for name, (match, cases) in channels.items():
        table: dict[str, Any] = {"name": name, "match": match}
        if intensity in (WINDOW, UNIT):
            table |= {"intensity": PERCENTILE, "modality": ANY}
        tables.append(table | ({"optional": True} if cases < found.images else {}))
    lacking = [name for name, (_, cases) in channels.items() if cases < found.images]
    some = f"; some cases lack {', '.join(lacking)}" if lacking else ""
    return Choice(tables, f"the data set has {len(tables)} images a case{some}")


def _spacing(found: Fingerprint) -> Choice:
    spacing = [round(value, 3) for value in found.spacing_mm]
    if found.is_flat:
        return Choice([*spacing[:2], 1.0], "the median pixel; a picture without a known size has pixels of 1")
    return Choice(spacing, "the median voxel of the images")


def _dimensions(found: Fingerprint) -> Choice:
    if found.is_flat:
        return Choice(2, "the images are 2-D")
    ratio = found.spacing_mm[2] / min(found.spacing_mm[:2])
    if ratio >= ANISOTROPIC:
        return Choice(2, f"slices are {ratio:.1f} times as far apart as pixels")
    return Choice(3, "voxels are nearly as high as wide")


def _patch(
    found: Fingerprint, dims: int, spacing_mm: Sequence[float], count: int, minutes: float, time_step: StepTimer
) -> tuple[Choice, Choice, Choice]:
    """Return the largest patch that is trained often enough in the time given, its batch, and the network."""
    image = [
        math.ceil(n * own / wanted) for n, own, wanted in zip(found.shape, found.spacing_mm, spacing_mm, strict=True)
    ]
    channels = count * (len(NEIGHBOURS) if dims == 2 and not found.is_flat else 1)
    network, batch = NETWORKS[dims], BATCH[dims]
    roi, seconds = [STRIDE] * dims, math.inf
    for size in PATCH_VOXELS[dims]:
        smaller = _cut(image[:dims], size, MIN_SIDE_3D if dims == 3 else MIN_SIDE_2D)
        if smaller == roi:
            continue
        roi = smaller
        seconds = time_step(network, roi, batch, channels)
        if 60 * minutes / seconds >= MIN_STEPS:
            break
    steps = int(60 * minutes / seconds)
    small = math.prod(roi) <= math.prod(_cut(image[:dims], PATCH_VOXELS[dims][-1], STRIDE))
    batch = batch * 2 if steps > 3 * MIN_STEPS and small else batch
    covers = "the whole image" if all(a >= b for a, b in zip(roi, image, strict=False)) else "a part of the image"
    reason = f"{covers}; one step takes {seconds:.2f} s here, so about {steps:,} fit into the time"
    known = "fast and accurate without a GPU" if dims == 3 else "a U-net of nnU-Net's form"
    return Choice(roi, reason), Choice(batch, "patches per step"), Choice(network, known)


def _cut(image: Sequence[int], voxels: int, least: int) -> list[int]:
    """Return the sides of a patch of at most about `voxels`, in the proportions of the image, as multiples of 8."""
    sides = [max(float(side), STRIDE) for side in image]
    while math.prod(sides) > voxels:
        largest = max(sides)
        sides = [side * 0.95 if side > 0.7 * largest else side for side in sides]
    return [max(math.ceil(side / STRIDE) * STRIDE, min(least, math.ceil(whole / STRIDE) * STRIDE))
            for side, whole in zip(sides, image, strict=True)]  # fmt: skip


def _fits(found: Fingerprint, roi: Sequence[int], spacing_mm: Sequence[float]) -> bool:
    """Return whether the patch shows most labels whole, with some context; true without labels."""
    known = [one for one in found.labels if one.cases and not one.is_tubular]
    if not known:
        return True
    fit = [
        all(
            side * step >= min(WHOLE_STRUCTURE * n * own, whole * own)
            for side, step, n, own, whole in zip(
                roi, spacing_mm, one.extent, found.spacing_mm, found.shape, strict=True
            )
        )
        for one in known
    ]
    return sum(fit) >= len(fit) / 2


def _forms(found: Fingerprint, labels: Sequence[str]) -> dict[str, Choice]:
    """Return what sides and forms of the labels decide: mirroring, tubular labels and expected components."""
    choices: dict[str, Choice] = {}
    if sided := sided_labels(labels):
        pairs = mirror_pairs(labels)
        covered = {name for pair in pairs for name in pair}
        if pairs and set(sided) <= covered:
            choices["mirror_pairs"] = Choice(
                [list(pair) for pair in pairs], "a mirrored image shows each label on the other side"
            )
        else:
            choices["mirror"] = Choice(
                False, f"{', '.join(sided)} {'has a side' if len(sided) == 1 else 'have a side'}"
            )
    if tubular := [one.name for one in found.labels if one.is_tubular]:
        choices["tubular"] = Choice(tubular, "their centrelines are many diameters long; the gate compares clDice too")
    if single := [one.name for one in found.labels if one.is_one_piece and one.cases >= 5]:
        choices["one_piece"] = Choice(single, "one piece in nearly every case; another number is named to annotators")
    return choices


def _notes(found: Fingerprint) -> list[str]:
    notes = []
    if not found.labelled:
        notes.append("No image has a label: after the first labels the app trains by itself, and proposes then.")
    for one in found.labels:
        if found.labelled and not one.cases:
            notes.append(f"No label was seen of '{one.name}'.")
    return notes
