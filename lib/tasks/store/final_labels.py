"""Check the final labels that other programs put into a folder store, and leave out those that cannot be used."""

import contextlib
import filecmp
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.data.findings import Finding, InputRejected
from lib.data.labels.coverage import SUFFIX, parse_covered, read_covered
from lib.records.label_checks import LabelCheck
from lib.records.labels import FOUND, LabelVersions, Origin
from lib.tasks.store.atomic_datastore import AtomicDatastore
from lib.tasks.store.label_check import FoundLabelCheck, several_labels

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
START_SECONDS = 2.0
"""Time in s that a starting server spends on labels that were never checked; the other labels are checked later."""
SETTLE_SECONDS = 2.0
"""A file that changed within this time in s may still be written, so that it is checked later."""
POLL_SECONDS = 60.0
"""Time in s after which the folder is looked at again, even if the watcher reported no change."""


@dataclass(frozen=True)
class RefusedLabel:
    """A file, or several files, in the folder of final labels that the app does not use.

    Args:
        study: Name of the study.
        files: Names of the files.
        finding: Why they are not used, and the next step.
    """

    study: str
    files: tuple[str, ...]
    finding: Finding


class FinalLabels:
    """The final labels of a folder store, with those that are refused.

    A label that was not checked yet counts as a label of its study: no annotator draws it again. Trainings check all
    labels before they use one.

    Args:
        store: The folder store.
        labels: Keeps and records the labels that are accepted.
        check: The check.
        saving: Lock of everyone who changes labels.
    """

    def __init__(self, store: AtomicDatastore, labels: LabelVersions, check: FoundLabelCheck, saving: FileLock) -> None:
        self._store, self._labels, self._check, self._saving = store, labels, check, saving
        self._refused: dict[str, RefusedLabel] = {}
        self._left, self._changed = 0, threading.Event()
        self._checking, self._guard = threading.Lock(), threading.Lock()

    @property
    def refused(self) -> Sequence[RefusedLabel]:
        """The refused labels, sorted by study."""
        return [self._refused[study] for study in sorted(self._refused)]

    @property
    def left(self) -> int:
        """Number of labels that wait for their check."""
        return self._left

    @contextmanager
    def replacing(self, study: str) -> Iterator[None]:
        """Accept the label that the block saves for a study: it was checked before."""
        with self._guard:
            self._refused = {name: label for name, label in self._refused.items() if name != study}
        yield
        with contextlib.suppress(OSError), self._guard:  # The label is saved; without a result it is checked once more.
            image, files = self._store.image_file(study), self._store.label_files(study, FINAL)
            self._check.put(files, LabelCheck(self._check.facts(image, files)))
            self._refused = {name: label for name, label in self._refused.items() if name != study}

    def notify(self) -> None:
        """Note that files of the store may have changed."""
        self._changed.set()

    def watch(self, prepare: Callable[[], object]) -> None:
        """Check new and changed labels in a thread, as long as the process lives.

        Args:
            prepare: Called first in the thread, to lower its priority.
        """
        threading.Thread(target=self._watch, args=(prepare,), name="labels", daemon=True).start()

    def _watch(self, prepare: Callable[[], object]) -> None:
        prepare()
        self.notify()
        while True:
            self._changed.wait(POLL_SECONDS)
            self._changed.clear()
            try:
                while self.check_all(settle_seconds=SETTLE_SECONDS):
                    time.sleep(SETTLE_SECONDS)
            except Exception:
                logger.exception("the check of final labels failed and is tried again")

    def check_all(self, *, seconds: float = float("inf"), settle_seconds: float = 0.0) -> int:
        """Check the labels that are new or have changed, and return the number of those left.

        Args:
            seconds: Time in s after which no further check begins.
            settle_seconds: Files that changed within this time in s are left for the next call.
        """
        with self._checking:
            end, left, failed = time.monotonic() + seconds, 0, 0
            by_study, refused = self._scan()
            for study, files in by_study.items():
                check = self._check.find(self._store.image_file(study), files)
                if check is None and (time.monotonic() > end or _is_fresh(files, settle_seconds)):
                    left += 1
                    continue
                if check is None:
                    check = self._examine(study, files)
                    if check is None:
                        failed += 1
                        continue
                    self._check.put(files, check)
                if check.finding:
                    refused[study] = RefusedLabel(study, tuple(file.name for file in files), check.finding)
            self._left = left + failed
            self._replace(refused)
        return left

    def _replace(self, refused: Mapping[str, RefusedLabel]) -> None:
        with self._guard:
            kept = {study: label for study, label in refused.items() if not self._is_accepted(study)}
            before, self._refused = self._refused, kept
        for study, label in kept.items():
            if before.get(study) != label:
                found, names = label.finding, ", ".join(label.files)
                logger.warning("%s: %s is not used: %s %s %s", study, names, found.code, found.reason, found.remedy)
        if before.keys() != kept.keys():
            self._store.refresh()

    def _is_accepted(self, study: str) -> bool:
        """Return whether a right label of a study was saved while the others were checked."""
        files = self._store.label_files(study, FINAL)
        known = self._check.find(self._store.image_file(study), files) if files else None
        return known is not None and known.finding is None

    def _examine(self, study: str, files: Sequence[Path]) -> LabelCheck | None:
        """Check the label of a study, and record it if it is accepted; None if it must be checked again later."""
        image, facts = self._store.image_file(study), ""
        try:
            facts = self._check.facts(image, files)
            if len(files) > 1:
                return LabelCheck(facts, several_labels(study, files))
            with self._check.checked_copy(image, files[0]) as copy, self._saving:
                if self._check.facts(image, files) != facts:
                    return None  # another label was saved meanwhile
                self._keep(study, image, files[0], copy)
                return LabelCheck(self._check.facts(image, self._store.label_files(study, FINAL)))
        except InputRejected as rejected:
            return LabelCheck(facts, rejected.findings[0])
        except OSError as error:
            # A disk that cannot be written must not keep the server from showing studies.
            logger.warning("%s: its final label is checked again later: %s", study, error)
            return None

    def _keep(self, study: str, image: Path, file: Path, copy: Path) -> None:
        """Record an accepted label; if the check changed it, the changed label becomes the final label."""
        covered = parse_covered(read_covered(file), self._labels.values)
        if filecmp.cmp(file, copy, shallow=False):
            self._labels.ensure_recorded(study, image, FINAL, file, covered)
            return
        found, kept = self._labels.save_copy(study, file), self._labels.save_copy(study, copy)
        AtomicDatastore.save_label(self._store, study, str(copy), FINAL, self._store.get_label_info(study, FINAL))
        note = {
            "code": "REWRITTEN",
            "severity": "note",
            "reason": "The file had names, values or an order of voxels of its own, and was rewritten for this app.",
            "remedy": f"The file as it was found is kept as {found.relative_to(self._labels.app_dir).as_posix()}.",
        }
        origin = Origin(source=FOUND, findings=[note], covered=covered)
        self._labels.record(study, image, FINAL, kept, origin, also=[found])

    def _scan(self) -> tuple[dict[str, list[Path]], dict[str, RefusedLabel]]:
        """Return the files of each study, and the files that are no label of a study by what they are named after."""
        studies, files, others = set(self._store.list_images()), dict[str, list[Path]](), dict[str, RefusedLabel]()
        for path, study in self._store.found_files(FINAL):
            if study in studies:
                files.setdefault(study, []).append(path)
            else:
                others[study] = RefusedLabel(study, (path.name,), _no_study(study, path, studies))
        folder = self._store.label_folder(FINAL)
        others |= {
            name: RefusedLabel(name, (name,), _no_label(folder / name))
            for name in self._store.other_files(FINAL)
            if name.removesuffix(SUFFIX) not in files
        }
        return files, others


def _is_fresh(files: Sequence[Path], seconds: float) -> bool:
    """Return whether a file changed within the last seconds; a time in the future is a clock that differs."""
    try:
        return any(0 <= time.time() - file.stat().st_mtime < seconds for file in files)
    except OSError:
        return True


def _no_label(path: Path) -> Finding:
    if path.is_dir():
        reason = f"'{path.name}' in labels/final is a folder; labels are read from labels/final itself."
        return Finding("NOT_AN_IMAGE", reason, "Move its files to labels/final, each with the name of its image.")
    if path.name.endswith(SUFFIX):
        reason = f"'{path.name}' in labels/final says what a label covers, and there is no such label."
        return Finding(
            "NOT_AN_IMAGE", reason, f"Name it after its label, or remove it: NAME{SUFFIX} beside NAME.nii.gz."
        )
    reason = f"The suffix of '{path.name}' in labels/final is not that of a label file."
    return Finding("NOT_AN_IMAGE", reason, "Store the label as NIfTI or NRRD, or move the file to another folder.")


def _no_study(study: str, path: Path, studies: set[str]) -> Finding:
    """Return the finding for a file without a study, with the study that it may belong to."""
    names = (f"{study}_0000", study.removesuffix(".seg"), study.removesuffix("_seg"))
    likely = [name for name in names if name in studies]
    remedy = "Give the label the name of its image, or add the image to the studies."
    if likely:
        remedy = f"Rename it to '{likely[0]}{path.name.removeprefix(study)}' if it is the label of '{likely[0]}'."
    return Finding("NO_STUDY", f"There is no study '{study}', which the label '{path.name}' is named after.", remedy)
