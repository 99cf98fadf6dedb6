"""Find names and values of the labels of a data set, and read label files with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.cases import Case
from lib.data.findings import InputRejected
from lib.data.formats import Header, read_header
from lib.data.labels.label_file import read_label
from lib.data.labels.names import find_value, plain_name
from lib.data.labels.slicer_segments import find_segments
from lib.data.labels.values import IGNORE
from lib.planning.collect import Collection

MAX_FILES = 40
"""Number of label files that are read to find their values; more are sampled evenly."""
MAX_LABELS = 254


def find_labels(found: Collection, names: Sequence[str] = ()) -> dict[str, int]:
    """Return the value of each label in the label files, by name, in the order of the app's labels.

    Masks of one label that all have the values 0 and 255, as programs for pictures write them, give the value 255.

    Args:
        found: Images and labels.
        names: Names that the user gives, in the order of the values 1, 2, ...; or, where the data set names its labels,
            all of them in the order that the app shall have.
    Raises:
        ValueError: If there are neither names nor labels, names clash or are not those of the data set, or a value is
            above 254.
    """
    files = [case.label for case in found.cases if case.label]
    known = dict(found.labels) or _names_in_headers(files)
    _check_names(names or list(known))
    if large := [f"{name} ({value})" for name, value in known.items() if not 0 < value < IGNORE]:
        raise ValueError(f"values must be from 1 to {IGNORE - 1}: {', '.join(large)}; renumber the labels")
    if known and names:
        values = [find_value([name], known) for name in names]
        if None in values or len(names) < len(known):
            raise ValueError(f"--labels must name all labels of the data set, in any order: {', '.join(known)}")
        return dict(zip(names, values, strict=True))  # type: ignore[arg-type]
    if known:
        return dict(sorted(known.items(), key=lambda item: item[1]))
    values = _values_in_files(found.cases)
    if len(names or values) == 1 and values == [IGNORE]:
        return {(names or ["label_1"])[0]: IGNORE}
    values = [value for value in values if value != IGNORE]
    if names:
        return {name: value for value, name in enumerate(names, start=1)}
    if not values:
        raise ValueError("there are no labels: name those that the app shall have with --labels A,B,...")
    return {f"label_{value}": value for value in values}


def _names_in_headers(files: Sequence[Path]) -> dict[str, int]:
    """Return the names of the segments in the headers of files, which 3D Slicer writes, numbered as they occur."""
    names: dict[str, int] = {}
    named = unnamed = 0
    for file in files:
        try:
            segments = find_segments(read_header(file).metadata)
        except InputRejected:
            continue  # the import reports it
        named, unnamed = named + bool(segments), unnamed + (not segments)
        for segment in segments:
            names.setdefault(segment.name, len(names) + 1)
    if named and unnamed:
        raise ValueError(
            f"{named} label files name their segments and {unnamed} do not, so the values of these could mean other "
            "labels: export all of them from one program"
        )
    return names


def _check_names(names: Sequence[str]) -> None:
    plain = [plain_name(name) for name in names]
    if twice := sorted({name for name, one in zip(names, plain, strict=True) if plain.count(one) > 1}):
        raise ValueError(f"labels must have different names: {', '.join(twice)}")
    if wrong := [name for name, one in zip(names, plain, strict=True) if one in ("background", "ignore")]:
        raise ValueError(f"'{wrong[0]}' is no label: 0 is background and {IGNORE} is ignored in every app")
    if wrong := [name for name in names if not name.isprintable()]:
        raise ValueError(f"{wrong[0]!r} is no name of a label: it has a line break or a hidden character")


def _values_in_files(cases: Sequence[Case]) -> list[int]:
    values: set[int] = set()
    for case in _pick([case for case in cases if case.label]):
        assert case.label is not None
        try:
            values |= set(np.unique(_read(case.label, read_header(case.image), None)).tolist())
        except InputRejected:
            continue
    return sorted(values - {0})[:MAX_LABELS]


def describe(rejected: InputRejected) -> str:
    """Return the first finding of a refusal in one line."""
    found = rejected.findings[0]
    return f"{found.code}: {found.reason} {found.remedy}"


def _pick(items: Sequence[Any]) -> list[Any]:
    count = min(MAX_FILES, len(items))
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, count).astype(int))] if count else []


def read_values(file: Path, image: Header, sources: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label file on the grid of its image with the app's values 1, 2, ..., in the order of `sources`.

    Args:
        file: The label file.
        image: Header of the image.
        sources: Value of each label in the files; see `find_labels`.
    Raises:
        InputRejected: As `lib.data.labels.label_file.read_label`.
    """
    label = _read(file, image, sources)
    lookup = np.zeros(IGNORE + 1, np.uint8)
    lookup[IGNORE] = IGNORE
    for value, source in enumerate(sources.values(), start=1):
        lookup[source] = value
    return lookup[label]


def _read(file: Path, image: Header, values: Mapping[str, int] | None) -> NDArray[np.uint8]:
    return read_label(file, image.spatial_shape, image.affine, values, in_pixels=image.in_pixels).voxels
