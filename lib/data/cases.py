"""Find the images of a folder and their labels."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.data.findings import InputRejected
from lib.data.formats import SUFFIXES, dicom
from lib.data.labels.coverage import SUFFIX, read_covered
from lib.data.listing import list_studies

logger = logging.getLogger(__name__)

FINAL_LABELS = Path("labels") / "final"
"""Folder of the final labels in a MONAI Label studies folder."""
_VISIT = re.compile(
    r"[_-](?:ses-[a-z0-9]+|(?:ses|session|series|scan|visit|acq|run|tp|followup|baseline|pre|post)(?:[-_]?\d+|op)?)"
    r"(?:[_-].*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """One study.

    Args:
        id: Name of the study.
        image: Image file, or folder of one DICOM series.
        label: Label file, None if there is none.
        patient: Name of the patient.
        covered: Names of the labels that the label file covers, None for all; see `lib.data.labels.coverage`.
    """

    id: str
    image: Path
    label: Path | None
    patient: str
    covered: tuple[str, ...] | None = None


def patient_from_name(name: str, pattern: str = "") -> str:
    """Return the patient name that is contained in a case name.

    A visit at the end of the name is removed: ``sub-01_ses-02`` and ``sub-01_ses-03`` both give ``sub-01``, and
    ``p7_scan2`` gives ``p7``. Any other name is returned unchanged.

    Args:
        name: Name of the case.
        pattern: Regular expression that is searched instead. Its first group is the patient, or the whole match if
            there is no group. A name without a match is returned unchanged.
    """
    if pattern:
        found = re.search(pattern, name)
        return (found[found.re.groups and 1] or name) if found else name
    return _VISIT.sub("", name) or name


def find_cases(
    images: str | Path, labels: str | Path | None = None, *, pattern: str = "", channels: Sequence[str] = ()
) -> list[Case]:
    """Return the cases of a folder, sorted by name.

    An image is a file with a known suffix, or a folder of one DICOM series. Other entries are named in the log, except
    hidden files; see `lib.data.listing`. A label is left out, with a line in the log, if the file that says what it
    covers cannot be read.

    Args:
        images: Folder of images, or the studies folder of MONAI Label's local store.
        labels: Folder of labels with the names of their images; by default ``labels/final`` in `images`.
        pattern: Regular expression that finds the patient in a name; see `patient_from_name`. A DICOM PatientID is
            used where there is one.
        channels: Patterns of the entries that hold further channels of the images; see `lib.data.channels`.
    Raises:
        FileNotFoundError: If `images` or `labels` does not exist.
    """
    images = Path(images)
    for folder in (images, labels):
        if folder is not None and not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder '{folder}'")
    folder = Path(labels) if labels else images / FINAL_LABELS
    by_name = _list_images(folder) if folder.is_dir() else {}
    return [_case(name, path, by_name, pattern) for name, path in _list_images(images, channels).items()]


def require_complete_labels(cases: Sequence[Case]) -> Sequence[Case]:
    """Return cases whose labels cover all labels, for comparisons that need every class of every case.

    Raises:
        ValueError: If a label covers some labels only; it gives the case.
    """
    for case in cases:
        if case.covered is not None:
            raise ValueError(
                f"the label of '{case.id}' covers {', '.join(case.covered)} only, and labels of all classes are needed "
                "here: leave the case out"
            )
    return cases


def _list_images(folder: Path, channels: Sequence[str] = ()) -> Mapping[str, Path]:
    listing = list_studies(folder, SUFFIXES, channels=channels)
    for entry in listing.left_out:
        if entry.name.endswith(SUFFIX):
            continue
        logger.warning("%s is left out: %s. %s", folder / entry.name, entry.reason, entry.remedy)
    return listing.studies


def _case(name: str, path: Path, labels: Mapping[str, Path], pattern: str) -> Case:
    known = dicom.patient_id(path) if path.is_dir() or dicom.is_dicom(path) else None
    label, covered = labels.get(name), None
    try:
        covered = read_covered(label) if label else None
    except InputRejected as rejected:
        found, label = rejected.findings[0], None
        logger.warning("%s: its label is not used: %s %s %s", name, found.code, found.reason, found.remedy)
    return Case(name, path, label, known or patient_from_name(name, pattern), covered)
