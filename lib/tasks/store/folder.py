"""Stores that keep and record every saved label: the base class, and the store in a folder."""

import contextlib
import logging
import os
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException

from lib.data.findings import InputRejected
from lib.data.formats import dicom, stem
from lib.data.labels.coverage import COVERED, parse_covered, read_covered, write_covered
from lib.data.listing import WAIT, LeftOut, is_visible, list_studies, split_suffix
from lib.records.labels import LabelVersions
from lib.tasks.store.atomic_datastore import AtomicDatastore
from lib.tasks.store.final_labels import FINAL, FinalLabels
from lib.tasks.store.proposals import Proposals
from lib.tasks.store.series import series_file

logger = logging.getLogger(__name__)

LINKS_VARIABLE = "TOPOLABEL_LINKED_FOLDERS"
"""Environment variable with the folders, separated as in PATH, that links in a folder of studies may point into."""
PATIENT = "PatientID"
SETTLE_S = 5.0
"""Seconds without a change after which the copy of a folder counts as complete."""
MAX_NAMED = 50
"""Most entries that are named at once in the log and on the Machine page."""
UNSENT = "unsent"
"""Tag in the ledger of a label that the archive did not accept; the store has no labels with this tag."""


class NotStored(RuntimeError):
    """Raised if the archive did not accept a label; the label's file is kept here.

    Args:
        reason: Message of the error.
        kept: Path of the kept file, relative to the app's folder.
    """

    def __init__(self, reason: str, kept: str) -> None:
        super().__init__(reason)
        self.kept = kept


class RecordingStore(AtomicDatastore):
    """Base of stores that keep a copy of every saved label and record the label in the ledger.

    `save_label` copies the label before it changes the store, and records the label before it returns.

    Args:
        labels: Keeps the versions of labels; set by `lib.tasks.store.archive.attach_records`.
        proposals: The latest proposals of the server; set by `lib.tasks.store.archive.attach_records`.
    """

    labels: LabelVersions
    proposals: Proposals
    _saving: FileLock
    _send_errors: tuple[type[Exception], ...] = ()

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label. On return the kept file, the store and the ledger are on the disk."""
        image = Path(self.get_image_uri(image_id) or "")
        if not image.exists() or not image.name:
            raise ImageNotFoundException(f"Image {image_id} not found")
        file = Path(label_filename)
        origin = self.proposals.origin(image_id, file, label_info or {})
        # The lock covers jobs in other processes too, so that the store has the label that the ledger records last.
        with self._saving:
            for former in self.label_files(image_id, label_tag):
                self.labels.ensure_recorded(image_id, image, label_tag, former, self._stated(former))
            kept = self.labels.save_copy(image_id, file)
            try:
                saved = self._store_label(image_id, file, label_tag, label_info or {}, *rest)
            except self._send_errors as error:
                self.labels.record(image_id, image, UNSENT, kept, origin)
                raise NotStored(str(error), kept.relative_to(self.labels.app_dir).as_posix()) from error
            self.labels.record(image_id, image, label_tag, kept, origin)
        return saved

    def _stated(self, label: Path) -> tuple[str, ...] | None:
        """Return what the file beside a label says that it covers; None if it says nothing that can be read."""
        with contextlib.suppress(InputRejected):  # it must not keep a new label from being saved
            return parse_covered(read_covered(label), self.labels.values)
        return None

    def _store_label(self, image_id: str, file: Path, label_tag: str, label_info: dict[str, Any], *rest: Any) -> str:
        """Save a kept label to the underlying store; the caller holds the lock."""
        return super().save_label(image_id, str(file), label_tag, label_info, *rest)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label from the store; its kept versions stay."""
        with self._saving:
            known = self.label_files(label_id, label_tag)
            super().remove_label(label_id, label_tag)
            if known:
                self.labels.record_removal(label_id, label_tag)


class FolderStore(RecordingStore):
    """A folder of studies: image files, and folders of one DICOM series each.

    A link that points out of the folder is ignored unless `LINKS_VARIABLE` allows its target.

    Args:
        path: The folder.
        series: Whether a folder of one DICOM series is a study.
        channels: Patterns of the entries that hold further channels of the studies.
        options: Options of MONAI Label's store.
    """

    left_out: tuple[LeftOut, ...] = ()
    """Entries of the folder that are no studies, with the reasons."""
    _next_listing: threading.Timer | None = None
    final: FinalLabels | None = None
    """The checks of final labels that other programs put there; None without checks. Set by `attach_records`."""
    # The watcher and the check of labels both read the folder again; MONAI Label iterates over what the other changes.
    _refreshing = threading.RLock()

    def __init__(self, path: str, *, series: bool = True, channels: Sequence[str] = (), **options: Any) -> None:
        self._series, self._channels = series, channels
        super().__init__(path, **options)

    def get_image(self, image_id: str, params: Any = None) -> BytesIO | None:
        """Return the content of the file of a study; see `file_to_download`."""
        file = self.file_to_download(image_id)
        return BytesIO(Path(file).read_bytes()) if file else None

    def get_image_uri(self, image_id: str) -> str:
        """Return the image file of a study, or the folder of its series; empty if there is none."""
        return self._within(super().get_image_uri(image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return the facts of a study; viewers download a series as one file, so they get no path of it."""
        info = super().get_image_info(image_id)
        return {**info, "path": "", "name": f"{image_id}.nii.gz"} if os.path.isdir(info.get("path", "")) else info

    def file_to_download(self, image_id: str) -> str:
        """Return the image file of a study, empty if there is none; a series is converted to one file.

        Raises:
            InputRejected: If a series cannot be converted.
        """
        path = self.get_image_uri(image_id)
        return str(series_file(Path(path), self.labels.app_dir / "model" / ".series")) if os.path.isdir(path) else path

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of a label, empty if there is none."""
        return self._within(super().get_label_uri(label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return image and label file of each study that has a final label."""
        pairs = super().datalist(full_path)
        return [pair for pair in pairs if not full_path or all(self._within(file) for file in pair.values())]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Return the path of a new ZIP file with the image and the label of each study that has a final label."""
        pairs = [
            (self.file_to_download(image), self.get_label_uri(image, FINAL)) for image in self.get_labeled_images()
        ]
        with tempfile.NamedTemporaryFile(delete=False) as file, zipfile.ZipFile(file, "w") as archive:
            for paths in [pair for pair in pairs if all(pair)][: limit_cases or None]:
                for kind, path in zip(("image", "label"), paths, strict=True):
                    archive.write(path, f"{kind}/{Path(path).name}")
            archive.writestr("metadata.json", self._datastore.model_dump_json(exclude={"base_path"}))
        return file.name

    def watch_moves(self) -> None:
        """Watch, besides what MONAI Label watches, for moved files, other entries, and files of a series."""
        super().watch_moves()
        if self._auto_reload:
            folder = Path(self._datastore.image_path())
            self._handler._patterns = [*(self._handler.patterns or ()), str(folder / "*"), str(folder / "*" / "*")]
            self._handler.on_created = self._handler.on_deleted = self._on_entry

    def _on_closed(self, event: Any) -> None:
        if event.src_path != self._datastore_config_path:
            self._on_entry(event)

    def _on_entry(self, event: Any) -> None:
        path, folder = Path(event.src_path), Path(self._datastore.image_path())
        if not is_visible(path.name):
            return
        if path.parent.parent == folder or (path.parent == folder and not split_suffix(path.name, self._suffixes)[1]):
            # A folder is copied file by file: list it once, when it is complete.
            self._list_later()
        else:
            self.refresh()

    def _list_later(self) -> None:
        if self._auto_reload and self._next_listing is None:
            self._next_listing = threading.Timer(SETTLE_S, self._list_now)
            self._next_listing.daemon = True
            self._next_listing.start()

    def _list_now(self) -> None:
        # The listing may find a folder that is still being copied, and ask for the next listing.
        self._next_listing = None
        self.refresh()

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return tuple(pattern.lstrip("*") for pattern in self._extensions)

    def _to_id(self, file: str) -> tuple[str, str]:
        """Return the name of a study or label and the suffix of its file; a series has none."""
        if (Path(self._datastore.image_path()) / file).is_dir():
            return file, ""
        name, suffix = split_suffix(file, self._suffixes)
        return (name, suffix) if suffix else super()._to_id(file)

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        if path == self._datastore.image_path():
            return {file.name: file.name for file in self._list_studies(Path(path))}
        files = [file for file in sorted(Path(path).iterdir()) if is_visible(file.name) and file.is_file()]
        found = [file for file in files if split_suffix(file.name, self._suffixes)[1] and self._is_within(file)]
        return {file.name: file.name for file in found}

    def _list_studies(self, folder: Path) -> list[Path]:
        known = {f"{image}{entry.image.ext}" for image, entry in self._datastore.objects.items()}
        listing = list_studies(
            folder, self._suffixes, series=self._series, known=known, settle_s=SETTLE_S, channels=self._channels
        )
        if any(entry.remedy == WAIT for entry in listing.left_out):
            self._list_later()
        outside = [file for file in listing.studies.values() if not self._is_within(file)]
        remedy = f"Add the folder of the link's target to {LINKS_VARIABLE} to allow it."
        links = (LeftOut(file.name, "it links to a file outside the store", remedy) for file in outside)
        self._name_left_out((*listing.left_out, *links))
        return [file for file in listing.studies.values() if file not in outside]

    def _name_left_out(self, left_out: tuple[LeftOut, ...]) -> None:
        for entry in left_out[:MAX_NAMED] if left_out != self.left_out else ():
            logger.warning("'%s' is no study: %s. %s", entry.name, entry.reason, entry.remedy)
        self.left_out = left_out

    def _add_non_existing_images(self) -> int:
        added = super()._add_non_existing_images()
        for image, entry in self._datastore.objects.items():
            # Patients are separated by PatientID, as with an archive.
            if not entry.image.ext and PATIENT not in entry.image.info:
                entry.image.info[PATIENT] = dicom.patient_id(Path(self._datastore.image_path()) / image) or ""
                added += 1
        return added

    def _remove_non_existing(self) -> int:
        removed, objects = super()._remove_non_existing(), self._datastore.objects
        # Earlier versions listed hidden files as studies.
        hidden = [image for image, entry in objects.items() if not is_visible(f"{image}{entry.image.ext}")]
        for image in hidden:
            del objects[image]
        return removed + len(hidden)

    def _within(self, file: str) -> str:
        """Return a file, or an empty string if it lies outside the store and the allowed link targets."""
        if not file or self._is_within(Path(file)):
            return file
        logger.warning(
            "%s is ignored: it links to a file outside the store; add the target's folder to %s to allow it",
            file,
            LINKS_VARIABLE,
        )
        return ""

    def _is_within(self, path: Path) -> bool:
        """Return whether a file, or a folder with all its files, lies in the store or the allowed link targets."""
        linked = filter(None, os.environ.get(LINKS_VARIABLE, "").split(os.pathsep))
        homes = [Path(home).resolve() for home in (self._datastore_path, *linked)]
        files = [path, *path.iterdir()] if path.is_dir() else [path]
        return all(any(file.resolve().is_relative_to(home) for home in homes) for file in files)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label; see `RecordingStore.save_label`."""
        checked = self.final.replacing(image_id) if self.final and label_tag == FINAL else contextlib.nullcontext()
        with checked:
            return super().save_label(image_id, label_filename, label_tag, label_info, *rest)

    def _store_label(self, image_id: str, file: Path, label_tag: str, label_info: dict[str, Any], *rest: Any) -> str:
        # A process that is killed in between leaves a label that covers too little, and never one that covers too much.
        label = self.label_folder(label_tag) / f"{image_id}{file.name.removeprefix(stem(file))}"
        covered = label_info.get(COVERED)
        if covered:
            label.parent.mkdir(parents=True, exist_ok=True)
            write_covered(label, covered)
        saved = super()._store_label(image_id, file, label_tag, label_info, *rest)
        if not covered:
            write_covered(label, None)
        return saved

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label from the store, with what it covers; its kept versions stay."""
        files = self.label_files(label_id, label_tag)
        super().remove_label(label_id, label_tag)
        for file in files:
            write_covered(file, None)

    def refresh(self) -> None:
        """Read the folder again, and check new labels in the background if a server watches them."""
        with self._refreshing:
            super().refresh()
        if self.final:
            self.final.notify()

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        super()._init_from_datastore_file(throw_exception)
        self._leave_out_refused()

    def _merge_index(self, index: LocalDatastoreModel) -> None:
        super()._merge_index(index)
        self._leave_out_refused()

    def _add_non_existing_labels(self, tag: str) -> int:
        return super()._add_non_existing_labels(tag) - self._leave_out_refused()

    def _leave_out_refused(self) -> int:
        """Remove refused final labels from the index, so that nothing uses them; return their number."""
        refused = [label.study for label in self.final.refused] if self.final else []
        objects = self._datastore.objects
        entries = [objects[study] for study in refused if study in objects and FINAL in objects[study].labels]
        for entry in entries:  # A new dict: another thread may be reading the former one.
            entry.labels = {tag: label for tag, label in entry.labels.items() if tag != FINAL}
        return len(entries)
