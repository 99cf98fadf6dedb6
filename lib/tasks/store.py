"""The studies, with every saved label kept: a folder, or a DICOMweb server behind MONAI Label's cache."""

import contextlib
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import DataModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException

from lib.data.atomic import replacing
from lib.records.labels import LabelVersions
from lib.records.ledger import FOLDER
from lib.tasks.proposals import Proposals

logger = logging.getLogger(__name__)


class WholeFiles(LocalDatastore):
    """A folder whose labels and index are replaced whole: MONAI Label writes over them in place."""

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Put a label in its place; the one before stays whole until then."""
        _, suffix = self._to_id(os.path.basename(label_filename))
        target = Path(self._datastore.label_path(label_tag)) / f"{image_id}{suffix}"
        with FileLock(self._lock_file):
            image = self._datastore.objects.get(image_id)
            if image is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            with replacing(target) as file:
                shutil.copyfile(label_filename, file)
            for other in self.label_files(image_id, label_tag):
                if other != target:
                    other.unlink()
            facts = {**(label_info or {}), "ts": int(time.time()), "name": target.name}
            image.labels[label_tag] = DataModel(info=facts, ext=suffix)
            self._update_datastore_file(lock=False)
        return image_id

    def label_files(self, image_id: str, label_tag: str) -> list[Path]:
        """Return the label's files: one, or several of different suffixes that another program left."""
        folder = Path(self._datastore.label_path(label_tag))
        names = [f"{image_id}{pattern.lstrip('*')}" for pattern in self._extensions]
        return [folder / name for name in names if (folder / name).is_file()]

    def watch_moves(self) -> None:
        """See what another process replaces: it is moved into its place, and MONAI Label looks for other changes."""
        if self._auto_reload:
            self._handler.on_moved = self._on_moved

    def _on_moved(self, event: Any) -> None:
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self.refresh()

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):
                return self._update_datastore_file(lock=False)
        index = Path(self._datastore_config_path)
        if index.is_file() and index.stat().st_mtime != self._config_ts:
            self._take_in(LocalDatastoreModel.model_validate_json(index.read_text()))
        with replacing(index) as file:
            file.write_text(json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str))
        self._config_ts = index.stat().st_mtime

    def _take_in(self, theirs: LocalDatastoreModel) -> None:
        """Take over what another process, a job that infers, added since this one last read the index."""
        ours = self._datastore.objects
        for image, other in theirs.objects.items():
            if not (Path(self._datastore.image_path()) / f"{image}{other.image.ext}").exists():
                continue
            mine = ours.setdefault(image, other)
            mine.image.info = {**other.image.info, **mine.image.info}
            for tag, label in other.labels.items():
                if tag not in mine.labels and self.label_files(image, tag):
                    mine.labels[tag] = label


class Keeping(WholeFiles):
    """Keeps every label that is saved, before the store has it, and records it, before anybody is told.

    Args:
        labels: The versions; set by `keeping`.
        proposals: What the server proposed; set by `keeping`.
    """

    labels: LabelVersions
    proposals: Proposals
    _saving: FileLock

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label; when this returns, file, store and ledger have it on the disk."""
        image = Path(self.get_image_uri(image_id) or "")
        if not image.exists() or not image.name:
            raise ImageNotFoundException(f"Image {image_id} not found")
        file = Path(label_filename)
        origin = self.proposals.origin(image_id, file, label_info or {})
        # One at a time, jobs in other processes included, so that the label recorded last is the one the store has.
        with self._saving:
            for former in self.label_files(image_id, label_tag):
                self.labels.adopt(image_id, image, label_tag, former)
            kept = self.labels.keep(image_id, file)
            saved = super().save_label(image_id, label_filename, label_tag, label_info, *rest)
            self.labels.record(image_id, image, label_tag, kept, origin)
        return saved

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out of the store; its versions stay."""
        with self._saving:
            known = self.label_files(label_id, label_tag)
            super().remove_label(label_id, label_tag)
            if known:
                self.labels.forget(label_id, label_tag)


class FolderStore(Keeping):
    """A folder of studies."""

    def catch_up(self) -> None:
        """Record the final labels that came by another way, those that a killed server could not record among them."""
        try:
            with self._saving:
                for image in self.list_images():
                    for label in self.label_files(image, DefaultLabelTag.FINAL.value):
                        self.labels.adopt(image, Path(self.get_image_uri(image)), DefaultLabelTag.FINAL.value, label)
        except OSError as error:
            # Whoever only looks at studies needs no disk that can be written.
            logger.warning("the labels of the store were not compared with the ledger: %s", error)


class ArchiveStore(Keeping, DICOMWebDatastore, WholeFiles):
    """A DICOMweb server: a final label goes there by STOW, and its version stays here as it was submitted."""


def keeping(store: Datastore, labels: LabelVersions, proposals: Proposals) -> Datastore:
    """Return a store that keeps what is saved to it.

    Args:
        store: A `FolderStore`, or MONAI Label's DICOMweb store; others (XNAT, DSA) are returned as they are.
        labels: Where labels are kept.
        proposals: What the server proposed.
    """
    if isinstance(store, DICOMWebDatastore):
        # MONAI Label names its class amid its settings; the finished store becomes ours here.
        store.__class__ = ArchiveStore
    if isinstance(store, Keeping):
        store.labels, store.proposals = labels, proposals
        store._saving = FileLock(labels.app_dir / FOLDER / "labels.lock")
        with contextlib.suppress(OSError):  # who saves a label is told
            (labels.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        store.watch_moves()
    return store
