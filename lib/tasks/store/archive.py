"""A store on a DICOMweb server: it fetches whole series and exchanges labels as DICOM SEG."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import requests
from cachetools import TTLCache, cached
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from pydicom.dataset import Dataset

from lib.data.channels import ChannelSpec, describes
from lib.data.findings import Finding, InputRejected, reject
from lib.data.formats import load, read_header
from lib.data.formats.dicom import LABEL_MODALITIES
from lib.data.labels.placing import SAME_GRID_VOXELS
from lib.data.pipeline import load_label, write_label
from lib.data.volumes.geometry import largest_shift
from lib.data.volumes.save import write_series
from lib.data.volumes.segmentation import read_segmentation
from lib.data.volumes.segmentation_writer import build_segmentation, segment_from_info
from lib.records.labels import LabelVersions
from lib.records.ledger import FOLDER
from lib.tasks.store.archived_segmentation import ArchivedSegmentation, parse_metadata
from lib.tasks.store.atomic_datastore import AtomicDatastore
from lib.tasks.store.final_labels import FINAL, FinalLabels, RefusedLabel
from lib.tasks.store.folder import FolderStore, RecordingStore
from lib.tasks.store.label_check import FoundLabelCheck
from lib.tasks.store.proposals import Proposals

logger = logging.getLogger(__name__)

SUFFIXES = (".nii.gz", ".nrrd")
"""Suffixes of converted series."""
EVERY_CT = {"Modality": "CT"}
"""MONAI Label's search filter where no other one is set."""
READER = "read_by_positions"
"""Key in an image's info: its file was made by this reader. Earlier versions had MONAI Label convert a series."""
CHANNELS = "channels"
"""Key in an image's info: the further channels whose series were looked for when it was fetched."""
REPLACES = "replaces"
"""Key in a label's facts: series UIDs of the SEGs that the archive had of its image when the label was saved here."""


class ArchiveStore(RecordingStore, DICOMWebDatastore, AtomicDatastore):
    """A store on a DICOMweb server: it sends a final label there by STOW and keeps the submitted file here.

    If another program later stores a SEG of a series, that SEG becomes the final label of the series.

    Args:
        names: Class name of each label value; set by `attach_records`.
        channels: Further channels of the tasks, which are other series of an examination; set by `attach_records`.
        modalities: DICOM modalities of the images, none for all, None for the search filter; set by `attach_records`.
    """

    names: Mapping[int, str]
    channels: Sequence[ChannelSpec]
    modalities: Sequence[str] | None
    _fetching: FileLock
    _known: dict[str, list[ArchivedSegmentation]]
    _unusable: dict[str, tuple[ArchivedSegmentation, Finding]]
    _read_here: set[str]
    # The archive does not answer or refuses the SEG, or the slices here do not make one (highdicom checks much).
    _send_errors = (requests.RequestException, InputRejected, AttributeError, KeyError, TypeError, ValueError)

    @cached(TTLCache(maxsize=16, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def list_images(self) -> list[str]:
        """Return the series of the app's modalities, without those that are further channels of others.

        A search filter that the settings of the server name takes the place of the modalities.
        """
        own: dict[str, Any] = self._search_filter
        filters = [own]
        if own == EVERY_CT and self.modalities is not None:
            filters = [{"Modality": one} for one in self.modalities] or [{}]
        found = (
            Dataset.from_json(one)
            for chosen in filters
            for one in self._client.search_for_series(search_filters=chosen, fields=["SeriesDescription"])
        )
        described = {str(series.SeriesInstanceUID): _describe(series) for series in found}
        return [
            series
            for series, facts in described.items()
            if facts[1] not in LABEL_MODALITIES and not any(describes(channel, *facts) for channel in self.channels)
        ]

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of a series, empty if the server has none; a partial download is fetched again.

        The file is NIfTI, or NRRD if the slices are tilted or unevenly spaced.

        Raises:
            InputRejected: If the series cannot be assembled to a volume.
        """
        known = self._converted(image_id)
        if known is None and image_id not in self.list_images():
            return ""
        if known is None or not self._has_channels(image_id):
            with self._fetching:
                if self._converted(image_id) is None:
                    self._fetch(image_id)
                if not self._has_channels(image_id):
                    self._fetch_channels(image_id)
        return str(self._converted(image_id))

    def _converted(self, image_id: str) -> Path | None:
        """Return the file of a series; None if there is none, or MONAI Label converted it to another grid."""
        folder = Path(self._datastore.image_path())
        file = next((one for suffix in SUFFIXES if (one := folder / f"{image_id}{suffix}").exists()), None)
        if file is None or image_id in self._read_here or self.get_image_info(image_id).get(READER):
            return file
        try:
            source, stored = read_header(folder / image_id), read_header(file)
        except InputRejected:
            return None
        same = source.origins is None and source.shape == stored.spatial_shape
        if not same or largest_shift(source.affine, stored.affine, source.shape) > SAME_GRID_VOXELS:
            return None
        self._read_here.add(image_id)
        return file

    def _fetch(self, image_id: str) -> None:
        """Download a series and convert it by the positions of its slices. The caller holds the lock."""
        folder = Path(self._datastore.image_path())
        # The converted file is written last. Without it, slices here are an incomplete download of a killed process.
        shutil.rmtree(folder / image_id, ignore_errors=True)
        dicom_web_download_series(None, image_id, str(folder / image_id), self._client, self._fetch_by_frame)
        volume = load(folder / image_id)
        for suffix in SUFFIXES:
            (folder / f"{image_id}{suffix}").unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="topolabel-") as temporary:
            file = write_series(volume, Path(temporary), image_id)
            self.add_image(image_id, str(file), {**self._dicom_info(image_id), READER: True})

    def _has_channels(self, image_id: str) -> bool:
        """Return whether the series of the further channels were looked for since app.toml declares them."""
        return self.get_image_info(image_id).get(CHANNELS, []) == [repr(channel) for channel in self.channels]

    def _fetch_channels(self, image_id: str) -> None:
        """Download the series of the same examination that are further channels. The caller holds the lock."""
        folder, study = Path(self._datastore.image_path()), self.study_uid(image_id)
        for found in map(Dataset.from_json, self._client.search_for_series(study, fields=["SeriesDescription"])):
            series = str(found.SeriesInstanceUID)
            if series == image_id or not any(describes(channel, *_describe(found)) for channel in self.channels):
                continue
            # Readers see the folder of a series only when it is complete.
            partial = folder / f".{series}"
            shutil.rmtree(partial, ignore_errors=True)
            dicom_web_download_series(study, series, str(partial), self._client, self._fetch_by_frame)
            shutil.rmtree(folder / series, ignore_errors=True)
            partial.rename(folder / series)
        self.update_image_info(image_id, {CHANNELS: [repr(channel) for channel in self.channels]})

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return the local file of a label, empty if there is none."""
        return AtomicDatastore.get_label_uri(self, label_id, label_tag)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Save a label. After a final one, the next query lists the study as labelled."""
        if label_tag == FINAL:
            label_info = {**(label_info or {}), "label_info": self._describe_segments(label_filename, label_info or {})}
        saved = super().save_label(image_id, label_filename, label_tag, label_info, *rest)
        self._clear_query_cache()
        return saved

    @cached(TTLCache(maxsize=16, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def segmentations(self) -> dict[str, ArchivedSegmentation]:
        """Return the newest usable SEG of each listed series, by series UID; metadata of a SEG are fetched once.

        A SEG that cannot be read, or whose segments are no labels of the app, leaves its series unlabelled; see
        `refused`.

        A SEG that a label saved here replaces counts as older than that label's own SEG, whatever their times are:
        the converter writes whole seconds, and clocks differ.
        """
        newest: dict[str, tuple[bool, ArchivedSegmentation]] = {}
        for found in map(Dataset.from_json, self._client.search_for_series(search_filters={"Modality": "SEG"})):
            study, series = str(found.StudyInstanceUID), str(found.SeriesInstanceUID)
            if series not in self._known:
                metadata = self._client.retrieve_series_metadata(study, series)
                self._known[series] = [parse_metadata(Dataset.from_json(one), study, series) for one in metadata]
            for seg in filter(self._is_usable, self._known[series]):
                ranked = seg.series not in self.get_label_info(seg.image, FINAL).get(REPLACES, ()), seg
                newest[seg.image] = max(ranked, newest.get(seg.image, ranked))
        return {image: seg for image, (_, seg) in newest.items() if image in self.list_images()}

    def _is_usable(self, seg: ArchivedSegmentation) -> bool:
        known = {name.casefold() for name in self.names.values()}
        if self.get_label_info(seg.image, FINAL).get("SeriesInstanceUID") == seg.series:
            return True
        if seg.labels and seg.instance not in self._unusable and known.isdisjoint(map(str.casefold, seg.labels)):
            reason = f"Its segments are {', '.join(seg.labels)}, and none is a label of the app."
            remedy = (
                f"Rename them to one of {', '.join(self.names.values())}; a SEG of another organ may stay as it is."
            )
            self._refuse(seg, Finding("LABEL_NAMES", reason, remedy))
        return seg.instance not in self._unusable

    def _refuse(self, seg: ArchivedSegmentation, found: Finding) -> None:
        self._unusable[seg.instance] = (seg, found)
        text = f"{found.code}: {found.reason} {found.remedy}"
        logger.warning("%s: SEG %s of the archive cannot be its final label: %s", seg.image, seg.series, text)

    @property
    def refused(self) -> list[RefusedLabel]:
        """The SEGs of the archive that are no labels, sorted by study."""
        found = [RefusedLabel(seg.image, (f"SEG {seg.series}",), finding) for seg, finding in self._unusable.values()]
        return sorted(found, key=lambda label: (label.study, label.files))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the series that have a final label."""
        return list(self.segmentations())

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the label's id, empty if there is none. A newer SEG of another program is read first."""
        if tag == FINAL and (newest := self.segmentations().get(image_id)):
            self._adopt_segmentation(newest)
        return super().get_label_by_image_id(image_id, tag)

    def _download_labeled_data(self) -> None:
        newest = self.segmentations()
        for image in set(AtomicDatastore.get_labeled_images(self, FINAL)) - newest.keys():
            logger.info("%s: its final label is removed, because the archive no longer has a SEG of it", image)
            with self._saving:
                AtomicDatastore.remove_label(self, image, FINAL)
                self.refresh()
                self.labels.record_removal(image, FINAL)
        for seg in newest.values():
            self._adopt_segmentation(seg)

    def _adopt_segmentation(self, seg: ArchivedSegmentation) -> None:
        """Make a SEG the final label of its series unless it already is. A SEG that cannot be read is logged once."""
        try:
            image, known = Path(self.get_image_uri(seg.image)), self.get_label_info(seg.image, FINAL)
        except InputRejected as error:
            self._refuse(seg, error.findings[0])
            self._clear_query_cache()
            return
        if known.get("SeriesInstanceUID") == seg.series or seg.instance in self._unusable or not image.is_file():
            return
        if seg.series in known.get(REPLACES, ()):
            # The listing may be older than the saved label: query again. If it is not, the label's own SEG is gone.
            self._clear_query_cache()
            if self.segmentations().get(seg.image) != seg:
                return
        data = self._client.retrieve_instance(seg.study, seg.series, seg.instance)
        try:
            slices = image.parent / seg.image
            label = read_segmentation(data, slices, self._values)
        except InputRejected as error:
            self._refuse(seg, error.findings[0])
            self._clear_query_cache()
            return
        with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
            file = write_label(label, read_header(image).affine, Path(folder) / f"{seg.image}.nii.gz")
            with self._saving:
                if self.get_label_info(seg.image, FINAL).get("SeriesInstanceUID") != known.get("SeriesInstanceUID"):
                    return  # Another label was saved meanwhile.
                facts = {"SeriesInstanceUID": seg.series, "StudyInstanceUID": seg.study}
                facts[REPLACES] = known.get(REPLACES, [])
                AtomicDatastore.save_label(self, seg.image, str(file), FINAL, facts)
                self.labels.ensure_recorded(seg.image, image, FINAL, Path(self.get_label_uri(seg.image, FINAL)))
        logger.info("%s: SEG %s of another program is now its final label", seg.image, seg.series)

    @property
    def _values(self) -> dict[str, int]:
        """Label value of each class name."""
        return {name: value for value, name in self.names.items()}

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label. A final label is stored by the archive, which offers its clients no removal."""
        if label_tag == FINAL:
            reason = "A final label is a DICOM SEG of the archive: remove it there, or submit another label"
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, reason)
        super().remove_label(label_id, label_tag)

    def study_uid(self, image_id: str) -> str:
        """Return the UID of the study that a series belongs to; viewers open images by it."""
        return self._dicom_info(image_id)["StudyInstanceUID"]

    def _clear_query_cache(self) -> None:
        """Make the next query ask the archive, even if a cached answer is only seconds old."""
        for lister in (ArchiveStore.list_images, ArchiveStore.segmentations):
            lister.cache.clear()  # type: ignore[attr-defined]

    def _store_label(self, image_id: str, file: Path, label_tag: str, label_info: dict[str, Any], *rest: Any) -> str:
        if label_tag == FINAL:
            label_info = {**label_info, REPLACES: self._existing_segmentations(image_id)}
            label_info |= self._send(image_id, file, label_info.get("label_info") or [])
        return AtomicDatastore.save_label(self, image_id, str(file), label_tag, label_info, *rest)

    def _send(self, image_id: str, file: Path, described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send a label to the archive as DICOM SEG; return the facts about its series."""
        image, slices = Path(self.get_image_uri(image_id)), Path(self._datastore.image_path()) / image_id
        header = read_header(image)
        label = load_label(file, header.spatial_shape, header.affine)
        title = next((str(one["model_name"]) for one in described if one.get("model_name")), "Segmentation")
        seg = build_segmentation(label, slices, [segment_from_info(one) for one in described], title)
        self._client.store_instances([seg])
        info = self.get_image_info(image_id)
        facts = {key: info.get(key) for key in ("Modality", "PatientID", "StudyInstanceUID")}
        return {**facts, "SeriesInstanceUID": str(seg.SeriesInstanceUID)}

    def _existing_segmentations(self, image_id: str) -> list[str]:
        """Return the series UIDs of the SEGs of an image that the archive has now."""
        self._clear_query_cache()
        self.segmentations()
        return sorted({seg.series for known in self._known.values() for seg in known if seg.image == image_id})

    def _describe_segments(self, label_filename: str, label_info: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return name and value of each segment in a label: MONAI Label assigns the names by their order alone."""
        values = [value for value in np.unique(load(label_filename).voxels).astype(int).tolist() if value]
        if not values:
            reason = "The label is empty, but a DICOM SEG needs at least one segment."
            remedy = "Label at least one voxel, or do not submit a label for this image."
            raise reject("EMPTY_LABEL", reason, remedy)
        sent = label_info.get("label_info")
        entries = sent if isinstance(sent, list) else []
        known = {entry.get("name"): entry for entry in entries if isinstance(entry, dict)}
        named = [(value, self.names.get(value, "ignore")) for value in values]
        return [{**known.get(name, {}), "name": name, "idx": value} for value, name in named]


def attach_records(
    store: Datastore,
    labels: LabelVersions,
    proposals: Proposals,
    names: Mapping[int, str] | None = None,
    check: FoundLabelCheck | None = None,
    channels: Sequence[ChannelSpec] = (),
    modalities: Sequence[str] | None = None,
) -> Datastore:
    """Return the store, changed so that it keeps and records every label that is saved to it.

    Args:
        store: A `FolderStore`, or MONAI Label's DICOMweb store; others (XNAT, DSA) are returned unchanged.
        labels: Keeps the versions of labels and records them in the ledger.
        proposals: The latest proposals of the server.
        names: Class name of each label value, for DICOM SEG.
        check: The check of labels that other programs put into a folder; None for no check.
        channels: Further channels of the tasks that are series of the same examination, for an archive.
        modalities: DICOM modalities of the images of an archive, none for all; None leaves its search filter as it is.
    """
    if isinstance(store, DICOMWebDatastore):
        # MONAI Label hard-codes the class of its DICOMweb store, so the class of the finished object is changed here.
        store.__class__ = ArchiveStore
        assert isinstance(store, ArchiveStore)
        store.names, store._known, store._unusable, store._read_here = names or {}, {}, {}, set()
        store.channels, store.modalities = channels, modalities
        store._fetching = FileLock(Path(store._datastore_path) / ".fetch.lock")
    if isinstance(store, RecordingStore):
        store.labels, store.proposals = labels, proposals
        store._saving = FileLock(labels.app_dir / FOLDER / "labels.lock")
        with contextlib.suppress(OSError):  # Saving a label reports this error.
            (labels.app_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        store.watch_moves()
    if isinstance(store, FolderStore) and check:
        store.final = FinalLabels(store, labels, check, store._saving)
    return store


def _describe(series: Dataset) -> tuple[str, str]:
    """Return description and modality of a series."""
    return str(series.get("SeriesDescription") or ""), str(series.get("Modality") or "")
