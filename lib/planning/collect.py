"""Find images, labels and names in a folder: nnU-Net, Medical Segmentation Decathlon, BIDS, or loose files."""

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lib.data.cases import Case, find_cases, patient_from_name
from lib.data.formats import SUFFIXES, stem
from lib.data.formats.dicom import is_dicom, read_slice
from lib.data.labels.coverage import read_covered

DATASET, CHANNEL = "dataset.json", "_0000"
IMAGES, LABELS = "imagesTr", "labelsTr"
_LABEL_WORDS = ("dseg", "mask")
"""Suffixes of BIDS for files of labels."""


@dataclass(frozen=True)
class Collection:
    """What a folder holds.

    Args:
        layout: Name of the layout, for messages.
        cases: Images with their labels, sorted by name.
        labels: Value of each label by name; empty if no file names them.
        modality: What the folder says the images are, such as "MRI"; empty if it says nothing.
        notes: What was left out, and why.
        channels: File of each case by its id, by the name of each further channel, which is fit for a folder.
        stacked: Such names of all channels that lie behind each other in one file a case; see `lib.planning.unstack`.
    """

    layout: str
    cases: tuple[Case, ...]
    labels: Mapping[str, int]
    modality: str = ""
    notes: tuple[str, ...] = ()
    channels: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    stacked: tuple[str, ...] = ()


def collect(studies: Path, labelled: Path | None = None, pattern: str = "") -> Collection:
    """Return the images of a folder, with their labels.

    Args:
        studies: Folder of images, of an nnU-Net or Decathlon data set, whose names of labels and channels are in
            dataset.json, or of a BIDS data set.
        labelled: Folder of label files, which have the names of their images. None takes the labels of the data set.
        pattern: Regular expression that finds the patient in a name; see `lib.data.cases.patient_from_name`.
    Raises:
        ValueError: If there is no image, or a description of the data set cannot be used.
    """
    for folder in filter(None, (studies, labelled)):
        if not folder.is_dir():
            raise ValueError(f"there is no folder '{folder}'")
    if (studies / DATASET).is_file():
        found = _read_dataset(studies)
    elif list(studies.glob("sub-*")) and (found := _read_bids(studies)).cases:
        pass
    elif (studies / IMAGES).is_dir():
        labels = studies / LABELS if (studies / LABELS).is_dir() and labelled is None else None
        found = Collection("imagesTr", tuple(find_cases(studies / IMAGES, labels, pattern=pattern)), {})
    else:
        found = Collection("folder", tuple(find_cases(studies, pattern=pattern)), {})
        if (studies.parent / DATASET).is_file():  # the folder imagesTr of a data set
            found = _describe(found, studies.parent)
    if labelled is not None:
        found = _with_labels(found, labelled, pattern)
    files = [case.image for case in found.cases if case.image.is_file() and is_dicom(case.image)]
    if len(files) > 1 and len({read_slice(path).series for path in files[:2]}) == 1:
        raise ValueError(f"'{studies}' is one DICOM series: give the folder in which each series has a folder")
    cases = tuple(replace(case, covered=read_covered(case.label) if case.label else None) for case in found.cases)
    found = replace(found, cases=cases)
    if not found.cases:
        raise ValueError(f"'{studies}' has no image: give a folder of image files ({', '.join(SUFFIXES)}) or of series")
    return found


def _with_labels(found: Collection, folder: Path, pattern: str) -> Collection:
    """Return the cases with the labels of another folder; a label without an image is named."""
    labels = {_plain(case.id): case.image for case in find_cases(folder, pattern=pattern)}
    images = {_plain(case.id) for case in found.cases}
    notes = []
    if not images & labels.keys() and (ending := _common_ending(list(labels), images)):
        labels = {name.removesuffix(ending): path for name, path in labels.items()}
        notes.append(f"The names of the labels are those of the images with '{ending}'.")
    cases = tuple(replace(case, label=labels.pop(_plain(case.id), None)) for case in found.cases)
    notes += [f"{len(labels)} labels have no image, for example '{next(iter(labels))}'."] if labels else []
    if not any(case.label for case in cases):
        raise ValueError(f"no label in '{folder}' has the name of an image: rename label files like their images")
    return replace(found, cases=cases, notes=(*found.notes, *notes))


def _common_ending(labels: Sequence[str], images: Set[str]) -> str:
    """Return what all names of labels have after the name of an image, such as "_mask"; empty if they differ."""
    endings = set()
    for label in labels:
        longest = max((image for image in images if label.startswith(image)), key=len, default=None)
        endings.add("" if longest is None else label.removeprefix(longest))
    ending = endings.pop() if len(endings) == 1 else ""
    return ending if ending and not ending[0].isalnum() else ""


def _plain(name: str) -> str:
    """Return the name of a case without what data sets add to the names of images."""
    return name.removesuffix(CHANNEL)


def _read_dataset(folder: Path) -> Collection:
    """Read a data set of nnU-Net or of the Medical Segmentation Decathlon."""
    facts, labels, names = _read_facts(folder)
    if isinstance(facts.get("training"), list):  # Decathlon, and the first nnU-Net
        pairs = [(_with_channel(folder / pair["image"]), folder / pair["label"]) for pair in facts["training"]]
        missing = sum(not path.is_file() for pair in pairs for path in pair)
        notes = (f"{missing} files that {DATASET} lists are not there.",) if missing else ()
        cases = tuple(_case(*pair) for pair in pairs if pair[0].is_file())
        found = Collection("Decathlon", cases, labels, names[0], notes)
        return found if len(names) == 1 else _with_channels(found, names)
    ending = facts.get("file_ending", ".nii.gz")
    images = sorted((folder / IMAGES).glob(f"*{CHANNEL}{ending}"))
    pairs = [(path, folder / LABELS / f"{_plain(stem(path))}{ending}") for path in images]
    return _with_channels(Collection("nnU-Net", tuple(_case(*pair) for pair in pairs), labels, names[0]), names)


def _describe(found: Collection, folder: Path) -> Collection:
    """Return the images of a folder with what the dataset.json of its data set says."""
    _, labels, names = _read_facts(folder)
    found = replace(found, labels=labels, modality=names[0])
    if len(names) == 1:
        return found
    reference = tuple(case for case in found.cases if case.id.endswith(CHANNEL))
    kept = tuple(replace(case, id=_plain(case.id), patient=patient_from_name(_plain(case.id))) for case in reference)
    return _with_channels(replace(found, cases=kept or found.cases), names)


def _with_channels(found: Collection, names: Sequence[str]) -> Collection:
    """Return the cases with their further channels: ``_0001`` and so on beside ``_0000``, or in the same file."""
    if len(names) == 1:
        return found
    if not all(stem(case.image).endswith(CHANNEL) for case in found.cases):
        return replace(found, stacked=_plain_names(names))
    channels = {
        name: {case.id: path for case in found.cases if (path := _other_channel(case.image, number)).is_file()}
        for number, name in enumerate(_plain_names(names)[1:], start=1)
    }
    return replace(found, channels={name: files for name, files in channels.items() if files})


def _plain_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that differ and are fit for folders: small letters, digits and "_"."""
    plain: list[str] = []
    for number, name in enumerate(names):
        word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or f"channel_{number}"
        plain.append(f"{word}_{number}" if word in plain else word)
    return tuple(plain)


def _other_channel(image: Path, number: int) -> Path:
    name = stem(image)
    return image.with_name(f"{_plain(name)}_{number:04d}{image.name.removeprefix(name)}")


def _read_facts(folder: Path) -> tuple[dict[str, Any], dict[str, int], list[str]]:
    """Return the content of dataset.json, the value of each label, and the name of each channel."""
    try:
        facts = json.loads((folder / DATASET).read_text(encoding="utf-8"))
        return facts, *_facts(facts)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"'{folder / DATASET}' cannot be read: {error}") from error


def _with_channel(image: Path) -> Path:
    """Return the file of an image that a description names without its channel."""
    name = stem(image)
    other = image.with_name(f"{name}{CHANNEL}{image.name.removeprefix(name)}")
    return other if other.is_file() and not image.is_file() else image


def _case(image: Path, label: Path) -> Case:
    name = _plain(stem(image))
    return Case(name, image, label if label.is_file() else None, patient_from_name(name))


def _facts(facts: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the value of each label, and the name of each channel."""
    channels = facts.get("channel_names") or facts.get("modality") or {"0": ""}
    labels: dict[str, int] = {}
    for key, other in (facts.get("labels") or {}).items():
        name, value = (other, key) if str(key).isdigit() else (key, other)
        if isinstance(value, list):
            raise ValueError(f"the label '{name}' is a region of several values; an app takes one value a label")
        if int(value) != 0 and str(name) != "ignore":
            labels[str(name)] = int(value)
    return labels, [str(name) for name in channels.values()]


def _read_bids(folder: Path) -> Collection:
    """Read a BIDS data set: the most frequent kind of image under ``sub-*``, and segmentations of the derivatives."""
    files = [path for path in sorted(folder.rglob("sub-*")) if path.is_file() and path.name.endswith(SUFFIXES)]
    images = [path for path in files if "derivatives" not in path.relative_to(folder).parts]
    kinds = Counter(_kind(path) for path in images if _kind(path) not in _LABEL_WORDS)
    if not kinds:
        return Collection("BIDS", (), {})
    kind, _ = kinds.most_common(1)[0]
    words = [word for word in _LABEL_WORDS if any(_kind(path) == word for path in files)][:1]
    marked: dict[tuple[str, ...], list[Path]] = {}
    for path in files:
        if _kind(path) in words:
            marked.setdefault(_place(path), []).append(path)
    labels = {place: paths[0] for place, paths in marked.items() if len(paths) == 1}
    cases = [
        Case(stem(path), path, labels.get(_place(path)), stem(path).split("_")[0])
        for path in images
        if _kind(path) == kind
    ]
    several = [paths for paths in marked.values() if len(paths) > 1]
    notes = [f"'{paths[0].name}' is one of {len(paths)} labels of its image, so none is used." for paths in several]
    notes += [f"{count} images of the kind '{other}' are left out." for other, count in kinds.items() if other != kind]
    return Collection("BIDS", tuple(cases), _bids_names(folder), kind, tuple(notes))


def _kind(path: Path) -> str:
    """Return the last part of a BIDS name, such as ``T1w``."""
    return stem(path).rsplit("_", 1)[-1]


def _place(path: Path) -> tuple[str, ...]:
    """Return subject, session and run of a BIDS name."""
    return tuple(part for part in stem(path).split("_") if re.match(r"(sub|ses|run|acq)-", part))


def _bids_names(folder: Path) -> dict[str, int]:
    tables: Sequence[Path] = sorted(folder.rglob("*dseg.tsv"))
    if not tables:
        return {}
    with tables[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["name"]: int(row["index"]) for row in rows if row.get("name") and int(row.get("index") or 0)}
