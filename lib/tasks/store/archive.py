"""A DICOMweb server as the store: series fetched whole, labels kept here, sent there as DICOM SEG and read again."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from cachetools import TTLCache, cached
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lib.data.findings import InputRejected, reject
from lib.data.formats import load
from lib.data.pipeline import save_label
from lib.data.volumes.segmentation import read_segmentation
from lib.records.labels import LabelVersions
from lib.records.ledger import FOLDER
from lib.tasks.store.folder import Keeping
from lib.tasks.store.proposals import Proposals
from lib.tasks.store.whole_files import WholeFiles

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
REPLACES = "replaces"
"""Key of a label's facts: the SEGs, by series, that the archive had of its image when it was saved here."""


@dataclass(frozen=True, order=True)
class Segmentation:
    """A DICOM SEG of the archive; the one made last is the greatest.

    Args:
        made: Date and time of its content, as DICOM writes them.
        study: UID of its study.
        series: UID of its series.
        instance: Its own UID.
        image: UID of the series that it segments; empty if it does not say.
    """

    made: str
    study: str
    series: str
    instance: str
    image: str


class ArchiveStore(Keeping, DICOMWebDatastore, WholeFiles):
    """A DICOMweb server: a final label goes there by STOW, and its version stays here as it was submitted.

    A SEG that another program makes of a series later counts as its final label from then on.

    Args:
        names: What the values of a label mean; set by `keeping`.
    """

    names: Mapping[int, str]
    _fetching: FileLock
    _known: dict[str, list[Segmentation]]
    _unusable: set[str]
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
        """Return a label's file here, empty if there is none."""
        return WholeFiles.get_label_uri(self, label_id, label_tag)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label; a final one is a study labelled from the next question on."""
        if label_tag == FINAL:
            label_info = {**(label_info or {}), "label_info": self._segments(label_filename, label_info or {})}
        saved = super().save_label(image_id, label_filename, label_tag, label_info, *rest)
        self._ask_anew()
        return saved

    @cached(TTLCache(maxsize=16, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def segmentations(self) -> dict[str, Segmentation]:
        """Return the newest SEG of each series that is listed; what the archive once told of a SEG stays true.

        One that a label saved here replaces is older than that label's own, whatever their times say: the converter
        writes whole seconds, and clocks differ.
        """
        newest: dict[str, tuple[bool, Segmentation]] = {}
        for found in map(Dataset.from_json, self._client.search_for_series(search_filters={"Modality": "SEG"})):
            study, series = str(found.StudyInstanceUID), str(found.SeriesInstanceUID)
            if series not in self._known:
                told = self._client.retrieve_series_metadata(study, series)
                self._known[series] = [_described(Dataset.from_json(each), study, series) for each in told]
            for each in self._known[series]:
                ranked = each.series not in self.get_label_info(each.image, FINAL).get(REPLACES, ()), each
                newest[each.image] = max(ranked, newest.get(each.image, ranked))
        return {image: each for image, (_, each) in newest.items() if image in self.list_images()}

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the series that have a final label."""
        return list(self.segmentations())

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the label's id, empty if there is none; a SEG that another program made meanwhile is read first."""
        if tag == FINAL and (newest := self.segmentations().get(image_id)):
            self._take_in(newest)
        return super().get_label_by_image_id(image_id, tag)

    def _download_labeled_data(self) -> None:
        newest = self.segmentations()
        for image in set(WholeFiles.get_labeled_images(self, FINAL)) - newest.keys():
            logger.info("%s: the archive has no SEG of it any more", image)
            with self._saving:
                WholeFiles.remove_label(self, image, FINAL)
                self.refresh()
                self.labels.forget(image, FINAL)
        for each in newest.values():
            self._take_in(each)

    def _take_in(self, seg: Segmentation) -> None:
        """Make a SEG the final label of its series, if it is not: one that cannot be read is said so once, and left."""
        image, known = Path(self.get_image_uri(seg.image)), self.get_label_info(seg.image, FINAL)
        if known.get("SeriesInstanceUID") == seg.series or seg.instance in self._unusable or not image.is_file():
            return
        if seg.series in known.get(REPLACES, ()):
            # A listing from before that label was saved, unless the label's own SEG is gone.
            self._ask_anew()
            if self.segmentations().get(seg.image) != seg:
                return
        data = self._client.retrieve_instance(seg.study, seg.series, seg.instance)
        try:
            slices = image.parent / seg.image
            label = read_segmentation(data, slices, {name: value for value, name in self.names.items()})
        except InputRejected as error:
            self._unusable.add(seg.instance)
            logger.warning("the SEG %s of %s is not taken for its label: %s", seg.series, seg.image, error)
            return
        with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
            affine = nib.load(image).affine  # type: ignore[attr-defined]
            file = save_label(label, affine, Path(folder) / f"{seg.image}.nii.gz")
            with self._saving:
                if self.get_label_info(seg.image, FINAL).get("SeriesInstanceUID") != known.get("SeriesInstanceUID"):
                    return  # somebody saved one meanwhile
                facts = {"SeriesInstanceUID": seg.series, "StudyInstanceUID": seg.study}
                facts[REPLACES] = known.get(REPLACES, [])
                WholeFiles.save_label(self, seg.image, str(file), FINAL, facts)
                self.labels.adopt(seg.image, image, FINAL, Path(self.get_label_uri(seg.image, FINAL)))
        logger.info("%s: a SEG of another program, %s, is its final label now", seg.image, seg.series)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out; a final one is the server's, which offers no removal to its clients."""
        if label_tag == FINAL:
            told = "A final label is a DICOM SEG of the archive: remove it there, or submit another one"
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, told)
        super().remove_label(label_id, label_tag)

    def study_of(self, image_id: str) -> str:
        """Return the UID of the study that a series belongs to, as viewers ask for it."""
        return self._dicom_info(image_id)["StudyInstanceUID"]

    def _ask_anew(self) -> None:
        """Let the archive be asked at the next question, however few seconds ago it was."""
        for lister in (DICOMWebDatastore.list_images, ArchiveStore.segmentations):
            lister.cache.clear()  # type: ignore[attr-defined]

    def _hand_over(self, image_id: str, file: Path, label_tag: str, label_info: dict[str, Any], *rest: Any) -> str:
        if label_tag == FINAL:
            label_info = {**label_info, REPLACES: self._there_already(image_id)}
        return super()._hand_over(image_id, file, label_tag, label_info, *rest)

    def _there_already(self, image_id: str) -> list[str]:
        """Return the SEGs of a series, by their own series, that the archive has at this moment."""
        self._ask_anew()
        self.segmentations()
        return sorted({each.series for told in self._known.values() for each in told if each.image == image_id})

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
        store.names, store._known, store._unusable = names or {}, {}, set()
        store._fetching = FileLock(Path(store._datastore_path) / ".fetch.lock")
    if isinstance(store, Keeping):
        store.labels, store.proposals = labels, proposals
        store._saving = FileLock(labels.app_dir / FOLDER / "labels.lock")
        with contextlib.suppress(OSError):  # who saves a label is told
            (labels.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        store.watch_moves()
    return store


def _described(told: Dataset, study: str, series: str) -> Segmentation:
    made = f"{told.get('ContentDate', '')}{told.get('ContentTime', '')}"
    referred = told.get("ReferencedSeriesSequence") or []
    image = str(referred[0].SeriesInstanceUID) if referred else ""
    return Segmentation(made, study, series, str(told.SOPInstanceUID), image)
