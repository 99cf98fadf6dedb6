"""The studies, with every saved label kept: a folder, or a DICOMweb server behind MONAI Label's cache."""

import contextlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import requests
from filelock import FileLock
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException
from pydicom.errors import InvalidDicomError

from lib.data.findings import reject
from lib.data.formats import load
from lib.records.labels import LabelVersions
from lib.records.ledger import FOLDER
from lib.tasks.proposals import Proposals
from lib.tasks.whole_files import WholeFiles

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
        labels: The versions; set by `keeping`.
        proposals: What the server proposed; set by `keeping`.
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
                saved = super().save_label(image_id, label_filename, label_tag, label_info, *rest)
            except self._refusals as error:
                self.labels.record(image_id, image, UNSENT, kept, origin)
                raise NotStored(str(error), kept.relative_to(self.labels.app_dir).as_posix()) from error
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


class ArchiveStore(Keeping, DICOMWebDatastore, WholeFiles):
    """A DICOMweb server: a final label goes there by STOW, and its version stays here as it was submitted.

    Args:
        names: What the values of a label mean; set by `keeping`.
    """

    names: Mapping[int, str]
    _fetching: FileLock
    # The archive is away or says no; the converter left no file, or none that is DICOM.
    _refusals = (requests.RequestException, FileNotFoundError, InvalidDicomError)

    def get_image_uri(self, image_id: str) -> str:
        """Return a series as NIfTI, empty if the server has none of that name; it is fetched whole or anew."""
        target = Path(self._datastore.image_path()) / f"{image_id}.nii.gz"
        if target.exists():
            return str(target)
        if image_id not in self.list_images():
            return ""
        with self._fetching:
            if not target.exists():
                # The NIfTI is made last: without it, the slices here are what a killed process left.
                shutil.rmtree(target.parent / image_id, ignore_errors=True)
                Path(super().get_image_uri(image_id)).unlink()
        return str(target)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return a label's file here; `image_id` is given where MONAI Label means a series of the server."""
        if not image_id:
            return WholeFiles.get_label_uri(self, label_id, label_tag)
        return super().get_label_uri(label_id, label_tag, image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label; a final one is a study labelled from the next question on."""
        if label_tag == DefaultLabelTag.FINAL.value:
            label_info = {**(label_info or {}), "label_info": self._segments(label_filename, label_info or {})}
        saved = super().save_label(image_id, label_filename, label_tag, label_info, *rest)
        for lister in (DICOMWebDatastore.list_images, DICOMWebDatastore.get_labeled_images):
            lister.cache.clear()  # type: ignore[attr-defined]
        return saved

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out; a final one is the server's, which offers no removal to its clients."""
        if label_tag == DefaultLabelTag.FINAL.value:
            told = "A final label is a DICOM SEG of the archive: remove it there, or submit another one"
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, told)
        super().remove_label(label_id, label_tag)

    def study_of(self, image_id: str) -> str:
        """Return the UID of the study that a series belongs to, as viewers ask for it."""
        return self._dicom_info(image_id)["StudyInstanceUID"]

    def _segments(self, label_filename: str, label_info: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the segments of a label are called: MONAI Label takes the names by their order alone."""
        values = [value for value in np.unique(load(label_filename).voxels).astype(int).tolist() if value]
        if not values:
            reason, remedy = "The label is empty, and a DICOM SEG cannot be.", "Label something, or leave it out."
            raise reject("EMPTY_LABEL", reason, remedy)
        told = label_info.get("label_info")
        known = {each.get("name"): each for each in told if isinstance(each, dict)} if isinstance(told, list) else {}
        named = [(value, self.names.get(value, "ignore")) for value in values]
        return [{**known.get(name, {}), "name": name, "idx": value} for value, name in named]


def keeping(
    store: Datastore, labels: LabelVersions, proposals: Proposals, names: Mapping[int, str] | None = None
) -> Datastore:
    """Return a store that keeps what is saved to it.

    Args:
        store: A `FolderStore`, or MONAI Label's DICOMweb store; others (XNAT, DSA) are returned as they are.
        labels: Where labels are kept.
        proposals: What the server proposed.
        names: What the values of a label mean, for DICOM SEG.
    """
    if isinstance(store, DICOMWebDatastore):
        # MONAI Label names its class amid its settings; the finished store becomes ours here.
        store.__class__ = ArchiveStore
        assert isinstance(store, ArchiveStore)
        store.names, store._fetching = names or {}, FileLock(Path(store._datastore_path) / ".fetch.lock")
    if isinstance(store, Keeping):
        store.labels, store.proposals = labels, proposals
        store._saving = FileLock(labels.app_dir / FOLDER / "labels.lock")
        with contextlib.suppress(OSError):  # who saves a label is told
            (labels.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        store.watch_moves()
    return store
