"""Copy studies and labels into an app's folder, where `serve`, `train` and `evaluate` find them."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import link
from pathlib import Path

from lib.data.cases import Case
from lib.data.findings import InputRejected
from lib.data.formats import SUFFIXES, read_header
from lib.data.labels.coverage import check_covered, parse_covered, write_covered
from lib.data.listing import split_suffix
from lib.data.validate import check
from lib.data.volumes.save import write_volume
from lib.planning.label_values import describe, read_values
from lib.records.labels import FOUND, LabelVersions, Origin
from lib.records.ledger import Ledger
from lib.tasks.spec import load_app

STUDIES, FINAL = "studies", "final"
"""Folder of the studies in an app's folder, and tag of the labels that train."""
CHANNELS = "channels"
"""Folder in the folder of studies with a folder for each further channel."""


@dataclass
class Imported:
    """What was imported.

    Attributes:
        studies: Number of images.
        labels: Number of labels.
        refused: Code and reason by the name of each case whose image or label is not used.
    """

    studies: int = 0
    labels: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def import_studies(
    app_dir: Path,
    cases: tuple[Case, ...],
    channels: Mapping[str, Mapping[str, Path]],
    sources: Mapping[str, int],
    author: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Link or copy images into ``<app>/studies``, and write their labels with the app's values into ``labels/final``.

    A file is linked if both folders are on one disk, and copied otherwise. An image that the app's input gate refuses
    is left out. A label passes the checks of a submitted label and is recorded in the ledger with its author.

    Args:
        app_dir: Folder of the app.
        cases: Images with their labels.
        channels: File of each case by its id, by the name of each further channel; they are placed in
            ``studies/channels/NAME``.
        sources: Value of each label in the label files; see `lib.planning.label_values.find_labels`.
        author: Author of the labels, such as ``import:DIR``.
        progress: Called with the number of cases done and their total.
    Raises:
        ValueError: If a study with the name of a case is there already.
        OSError: If the disk is full.
    """
    studies, task = app_dir / STUDIES, load_app(app_dir).tasks[0]
    labels, modality = LabelVersions(app_dir, Ledger.of(app_dir), task.labels), task.image.modality
    (studies / "labels" / FINAL).mkdir(parents=True, exist_ok=True)
    done = Imported()
    for count, case in enumerate(cases, start=1):
        try:
            check(case.image, modality=modality)
            image = _place(case.image, studies, case.id)
            for name, files in channels.items():
                if case.id in files:
                    (studies / CHANNELS / name).mkdir(parents=True, exist_ok=True)
                    _place(files[case.id], studies / CHANNELS / name, case.id)
            done.studies += 1
            if case.label is not None:
                _import_label(case, case.label, image, sources, labels, author)
                done.labels += 1
        except InputRejected as rejected:
            done.refused[case.id] = describe(rejected)
        progress(count, len(cases))
    return done


def _place(image: Path, folder: Path, name: str) -> Path:
    suffix = "" if image.is_dir() else split_suffix(image.name, SUFFIXES)[1]
    target = folder / f"{name}{suffix}"
    if target.exists():
        raise ValueError(f"there is a study '{target.name}' in {folder} already: give an empty folder for the app")
    if image.is_dir():
        target.mkdir()
        for file in sorted(image.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                _link(file, target / file.name)
    else:
        _link(image, target)
    return target


def _link(source: Path, target: Path) -> None:
    try:
        link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def _import_label(
    case: Case, file: Path, image: Path, sources: Mapping[str, int], labels: LabelVersions, author: str
) -> None:
    """Write the label of a case with the app's values, and record it.

    Raises:
        InputRejected: If the label cannot be used.
    """
    header = read_header(image)
    label, covered = read_values(file, header, sources), parse_covered(case.covered, labels.values)
    check_covered(label, covered, labels.values)
    # ITK reads no NIfTI of a tilted series, and a picture has no geometry.
    suffix = ".png" if header.in_pixels else ".nii.gz" if header.origins is None else ".nrrd"
    path = image.parent / "labels" / FINAL / f"{case.id}{suffix}"
    write_volume(label, header.affine, path)
    write_covered(path, covered)
    origin = Origin(source=FOUND, who=author, covered=covered)
    labels.record(case.id, image, FINAL, labels.save_copy(case.id, path), origin)
