"""Studies whose saved labels are all kept: what every store has, and a folder."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException

from lib.records.labels import LabelVersions
from lib.tasks.store.proposals import Proposals
from lib.tasks.store.whole_files import WholeFiles

logger = logging.getLogger(__name__)

LINKS_VARIABLE = "TOPOLABEL_LINKED_FOLDERS"
"""Folders, as in PATH, into which links in a folder of studies may lead."""


UNSENT = "unsent"
"""Tag in the ledger of a label that the archive did not take; the store has no label of this tag."""


class NotStored(RuntimeError):
    """Raised where the archive did not take a label that is kept here.

    Args:
        reason: What failed.
        kept: The file, relative to the app's folder.
    """

    def __init__(self, reason: str, kept: str) -> None:
        super().__init__(reason)
        self.kept = kept


class Keeping(WholeFiles):
    """Keeps every label that is saved, before the store has it, and records it, before anybody is told.

    Args:
        labels: The versions; set by `lib.tasks.store.archive.keeping`.
        proposals: What the server proposed; set by `lib.tasks.store.archive.keeping`.
    """

    labels: LabelVersions
    proposals: Proposals
    _saving: FileLock
    _refusals: tuple[type[Exception], ...] = ()

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
            try:
                saved = self._hand_over(image_id, file, label_tag, label_info or {}, *rest)
            except self._refusals as error:
                self.labels.record(image_id, image, UNSENT, kept, origin)
                raise NotStored(str(error), kept.relative_to(self.labels.app_dir).as_posix()) from error
            self.labels.record(image_id, image, label_tag, kept, origin)
        return saved

    def _hand_over(self, image_id: str, file: Path, label_tag: str, label_info: dict[str, Any], *rest: Any) -> str:
        """Let the store have a label that is kept; called by one at a time."""
        return super().save_label(image_id, str(file), label_tag, label_info, *rest)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out of the store; its versions stay."""
        with self._saving:
            known = self.label_files(label_id, label_tag)
            super().remove_label(label_id, label_tag)
            if known:
                self.labels.forget(label_id, label_tag)


class FolderStore(Keeping):
    """A folder of studies; a link in it that leads elsewhere is no study, unless `LINKS_VARIABLE` names where to."""

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of a study, empty if there is none."""
        return self._within(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of a label, empty if there is none."""
        return self._within(super().get_label_uri(label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return image and label of each study that has a final one."""
        pairs = super().datalist(full_path)
        return [pair for pair in pairs if not full_path or all(self._within(file) for file in pair.values())]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if self._within(os.path.join(path, file))}

    def _within(self, file: str) -> str:
        """Return a file, or nothing if it lies neither in the store nor where links of it may lead."""
        if not file:
            return ""
        linked = filter(None, os.environ.get(LINKS_VARIABLE, "").split(os.pathsep))
        real, homes = Path(file).resolve(), [Path(home).resolve() for home in (self._datastore_path, *linked)]
        if any(real.is_relative_to(home) for home in homes):
            return file
        logger.warning("%s leads out of the store and is left out; %s may allow it", file, LINKS_VARIABLE)
        return ""

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
