"""Stores that keep and record every saved label: the base class, and the store in a folder."""

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException

from lib.records.labels import LabelVersions
from lib.tasks.store.atomic_datastore import AtomicDatastore
from lib.tasks.store.final_labels import FINAL, FinalLabels
from lib.tasks.store.proposals import Proposals

logger = logging.getLogger(__name__)

LINKS_VARIABLE = "TOPOLABEL_LINKED_FOLDERS"
"""Environment variable with the folders, separated as in PATH, that links in a folder of studies may point into."""
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
                self.labels.ensure_recorded(image_id, image, label_tag, former)
            kept = self.labels.save_copy(image_id, file)
            try:
                saved = self._store_label(image_id, file, label_tag, label_info or {}, *rest)
            except self._send_errors as error:
                self.labels.record(image_id, image, UNSENT, kept, origin)
                raise NotStored(str(error), kept.relative_to(self.labels.app_dir).as_posix()) from error
            self.labels.record(image_id, image, label_tag, kept, origin)
        return saved

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
    """A folder of studies. A link that points out of it is ignored unless `LINKS_VARIABLE` allows its target.

    Args:
        final: The checks of final labels that other programs put there; None without checks. Set by
            `lib.tasks.store.archive.attach_records`.
    """

    final: FinalLabels | None = None
    # The watcher and the check of labels both read the folder again; MONAI Label iterates over what the other changes.
    _refreshing = threading.RLock()

    def get_image_uri(self, image_id: str) -> str:
        """Return the image file of a study, empty if there is none."""
        return self._within(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of a label, empty if there is none."""
        return self._within(super().get_label_uri(label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return image and label file of each study that has a final label."""
        pairs = super().datalist(full_path)
        return [pair for pair in pairs if not full_path or all(self._within(file) for file in pair.values())]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if self._within(os.path.join(path, file))}

    def _within(self, file: str) -> str:
        """Return a file, or an empty string if it lies outside the store and the allowed link targets."""
        if not file:
            return ""
        linked = filter(None, os.environ.get(LINKS_VARIABLE, "").split(os.pathsep))
        real, homes = Path(file).resolve(), [Path(home).resolve() for home in (self._datastore_path, *linked)]
        if any(real.is_relative_to(home) for home in homes):
            return file
        logger.warning(
            "%s is ignored: it links to a file outside the store; add the target's folder to %s to allow it",
            file,
            LINKS_VARIABLE,
        )
        return ""

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label; see `RecordingStore.save_label`."""
        checked = self.final.replacing(image_id) if self.final and label_tag == FINAL else contextlib.nullcontext()
        with checked:
            return super().save_label(image_id, label_filename, label_tag, label_info, *rest)

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
