"""List the studies of a folder, and name each entry that is no study with the reason."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import pydicom

from lib.data.formats import dicom

SYSTEM_NAMES = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))
"""Names that operating systems write beside the files of a user; hidden names are system files as well."""
OWN_NAMES = frozenset(("labels", "model", "datastore_v2.json", "about"))
"""Entries that MONAI Label and the cohorts of `lib.data` write into a folder of studies."""
DICOM_SUFFIX = ".dcm"
WAIT = "Wait until its copy is complete."
"""Remedy for a folder that is being written."""


@dataclass(frozen=True)
class LeftOut:
    """An entry of a folder that is no study.

    Args:
        name: Name of the file or folder.
        reason: What was found.
        remedy: The next step.
    """

    name: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Listing:
    """The entries of a folder of studies.

    Args:
        studies: File, or folder of one DICOM series, by the name of the study; sorted by path.
        left_out: The entries that are no studies; system files and the entries of MONAI Label are not among them.
    """

    studies: Mapping[str, Path]
    left_out: tuple[LeftOut, ...]


def is_visible(name: str) -> bool:
    """Return whether a name belongs to a user's file: not hidden, no resource fork ("._a.nii.gz"), no system file."""
    return not name.startswith(".") and name not in SYSTEM_NAMES


def split_suffix(name: str, suffixes: Sequence[str]) -> tuple[str, str]:
    """Return a file name without its suffix and the suffix as written; no suffix if it is none of `suffixes`.

    Args:
        name: The file name.
        suffixes: Suffixes in lower case; the case of the file name is ignored.
    """
    found = max((s for s in suffixes if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(found)], name[len(name) - len(found) :]


def list_studies(
    folder: Path,
    suffixes: Sequence[str],
    *,
    series: bool = True,
    known: Collection[str] = (),
    settle_s: float = 0.0,
    channels: Sequence[str] = (),
) -> Listing:
    """Return the studies of a folder and the entries that are none.

    A study is a file with one of the suffixes in any case, or a folder that directly holds the DICOM files of one
    series. If several entries have the same name, the known one, otherwise the first, is the study.

    Args:
        folder: The folder.
        suffixes: Suffixes of image files; with ".dcm", a DICOM file without suffix is an image too.
        series: Whether a folder of one DICOM series is a study.
        known: Names of entries that were studies before; their files are not read again.
        settle_s: Seconds without a change after which the copy of a folder counts as complete.
        channels: Patterns of the entries that hold further channels of the studies, which are no studies.
    """
    studies: dict[str, Path] = {}
    left_out: list[LeftOut] = []
    entries = [path for path in folder.iterdir() if is_visible(path.name) and path.name not in OWN_NAMES]
    entries = [path for path in entries if not any(fnmatchcase(path.name, pattern) for pattern in channels)]
    for path in sorted(entries, key=lambda path: (path.name not in known, path.name)):
        try:
            name, fault = _examine(path, suffixes, series, path.name in known, settle_s)
        except OSError as error:
            name = path.name
            fault = LeftOut(name, f"it cannot be read ({error.strerror})", "Check its permissions and the disk.")
        if fault is None and name in studies:
            other = studies[name].name
            fault = LeftOut(path.name, f"the study '{other}' has the same name", f"Rename '{path.name}' or '{other}'.")
        if fault is None:
            studies[name] = path
        else:
            left_out.append(fault)
    in_order = sorted(studies.items(), key=lambda item: item[1])
    return Listing(dict(in_order), tuple(sorted(left_out, key=lambda one: one.name)))


def _examine(
    path: Path, suffixes: Sequence[str], series: bool, known: bool, settle_s: float
) -> tuple[str, LeftOut | None]:
    """Return the name of the study, and why the entry is no study or None."""
    if not path.exists():
        return path.name, LeftOut(path.name, "a link to a file that does not exist", "Correct or remove the link.")
    if path.is_dir():
        return path.name, _folder_fault(path, suffixes, series, known, settle_s)
    name, suffix = split_suffix(path.name, suffixes)
    if suffix or (DICOM_SUFFIX in suffixes and dicom.is_dicom(path)):
        return name, None
    if dicom.is_dicom(path):
        reason, remedy = "a single DICOM file", "Put the files of its series into a folder of their own."
    else:
        reason, remedy = "no image in a format that is read here", f"Convert images to one of {', '.join(suffixes)}."
    return name, LeftOut(path.name, reason, remedy)


def _folder_fault(path: Path, suffixes: Sequence[str], series: bool, known: bool, settle_s: float) -> LeftOut | None:
    move = "Move its images into the folder of studies"
    if not series:
        return LeftOut(path.name, "a folder", f"{move}.")
    if split_suffix(path.name, suffixes)[1]:
        return LeftOut(path.name, "a folder with the suffix of a file", "Rename the folder.")
    changed = path.stat().st_mtime
    if known and _has_dicom(path, changed):
        return None
    if 0 <= time.time() - changed < settle_s:
        return LeftOut(path.name, "a folder that is being written", WAIT)
    count = _series_count(path, changed)
    if count == 1:
        return None
    if count:
        return LeftOut(path.name, "a folder with several DICOM series", "Put each series into a folder of its own.")
    remedy = f"{move}, and the files of each DICOM series into a folder of its own there."
    return LeftOut(path.name, "a folder without DICOM files of its own", remedy)


@lru_cache(maxsize=4096)
def _has_dicom(folder: Path, changed: float) -> bool:
    """Return whether a folder directly holds a DICOM file; cached until the folder changes."""
    return any(dicom.is_dicom(file) for file in sorted(folder.iterdir()) if is_visible(file.name))


@lru_cache(maxsize=4096)
def _series_count(folder: Path, changed: float) -> int:
    """Return the number of DICOM series in a folder, counted up to 2; cached until the folder changes."""
    found: set[str] = set()
    for file in sorted(folder.iterdir()):
        if is_visible(file.name) and dicom.is_dicom(file):
            found.add(_series_uid(file))
        if len(found - {""}) > 1:
            break
    return len(found - {""})


def _series_uid(file: Path) -> str:
    """Return the SeriesInstanceUID of a file; empty if it has none, as a DICOMDIR, or is damaged."""
    try:
        tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        return str(tags.get("SeriesInstanceUID") or "")
    except Exception:  # pydicom raises many kinds of exceptions for a damaged file
        return ""
