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
from lib.data.labels.names import find_value
from lib.data.labels.slicer_segments import find_segments
from lib.data.labels.values import IGNORE
from lib.planning.collect import Collection

MAX_FILES = 40
"""Number of label files that are read to find their values; more are sampled evenly."""
MAX_LABELS = 254


def find_labels(found: Collection, names: Sequence[str] = ()) -> dict[str, int]:
    """Return the value of each label in the label files, by name, in the order of the app's labels.

    Args:
        found: Images and labels.
        names: Names that the user gives, in the order of the values 1, 2, ...; or, where the data set names its labels,
            those of them that the app shall have.
    Raises:
        ValueError: If there are neither names nor labels, or a name is not one of the data set.
    """
    files = [case.label for case in found.cases if case.label]
    known = dict(found.labels) or _names_in_headers(files)
    if known and names:
        chosen = {name: find_value([name], known) for name in names}
        if missing := [name for name, value in chosen.items() if value is None]:
            raise ValueError(f"no label is called {', '.join(missing)}: the data set has {', '.join(known)}")
        return {name: value for name, value in chosen.items() if value is not None}
    if known:
        return dict(sorted(known.items(), key=lambda item: item[1]))
    if names:
        return {name: value for value, name in enumerate(names, start=1)}
    values = _values_in_files(found.cases)
    if not values:
        raise ValueError("there are no labels: name those that the app shall have with --labels A,B,...")
    return {f"label_{value}": value for value in values}


def _names_in_headers(files: Sequence[Path]) -> dict[str, int]:
    """Return the names of the segments in the headers of files, which 3D Slicer writes, numbered as they occur."""
    names: dict[str, int] = {}
    for file in _pick(files):
        try:
            segments = find_segments(read_header(file).metadata)
        except InputRejected:
            continue  # the import reports it
        for segment in segments:
            names.setdefault(segment.name, len(names) + 1)
    return names


def _values_in_files(cases: Sequence[Case]) -> list[int]:
    values: set[int] = set()
    for case in _pick([case for case in cases if case.label]):
        assert case.label is not None
        try:
            values |= set(np.unique(_read(case.label, read_header(case.image), None)).tolist())
        except InputRejected:
            continue
    if values - {0} == {IGNORE}:
        return [1]  # masks of 0 and 255; see `read_values`
    return sorted(values - {0, IGNORE})[:MAX_LABELS]


def describe(rejected: InputRejected) -> str:
    """Return the first finding of a refusal in one line."""
    found = rejected.findings[0]
    return f"{found.code}: {found.reason} {found.remedy}"


def _pick(items: Sequence[Any]) -> list[Any]:
    count = min(MAX_FILES, len(items))
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, count).astype(int))] if count else []


def read_values(file: Path, image: Header, sources: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label file on the grid of its image with the app's values 1, 2, ..., in the order of `sources`.

    A mask of one label that is stored as 0 and 255, as programs for pictures do, becomes 0 and 1.

    Args:
        file: The label file.
        image: Header of the image.
        sources: Value of each label in the files; see `find_labels`.
    Raises:
        InputRejected: As `lib.data.labels.label_file.read_label`.
    """
    label = _read(file, image, sources)
    if len(sources) == 1 and set(np.unique(label).tolist()) == {0, IGNORE}:
        return (label == IGNORE).astype(np.uint8)
    lookup = np.zeros(IGNORE + 1, np.uint8)
    lookup[IGNORE] = IGNORE
    for value, source in enumerate(sources.values(), start=1):
        lookup[source] = value
    return lookup[label]


def _read(file: Path, image: Header, values: Mapping[str, int] | None) -> NDArray[np.uint8]:
    return read_label(file, image.spatial_shape, image.affine, values, in_pixels=image.in_pixels).voxels
