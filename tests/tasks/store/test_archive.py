"""The store on a DICOMweb server: choice of the SEG, queries to the archive, and unreadable SEGs.

The archive is a folder of DICOM files behind the client library's file client. `tests/server` uses a real server.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from archive import ct_series
from dicomweb_client import DICOMfileClient
from monailabel.datastore.dicom import DICOMWebDatastore
from pydicom.dataset import Dataset

from lib.records.labels import FOUND, REMOVED, LabelVersions
from lib.records.ledger import Ledger
from lib.tasks.store.archive import FINAL, READER, ArchiveStore, attach_records
from lib.tasks.store.proposals import Proposals
from tests.segmentations import segmentation

NAMES = {1: "tube", 2: "cavity"}
SHAPE = (12, 10, 8)


class Files(DICOMfileClient):
    """The file client, which also returns a URL as a server does and records its queries."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}", in_memory=True)
        self.queries: list[str] = []
        self.deleted: set[str] = set()

    def search_for_series(self, *args: Any, **options: Any) -> Any:
        # Deletion in the library's file client has no effect.
        found = super().search_for_series(*args, **options)
        return [entry for entry in found if entry["0020000E"]["Value"][0] not in self.deleted]

    def store_instances(self, datasets: Any, *args: Any, **options: Any) -> Dataset:
        # Servers return the URL of the series, but the library's file client does not.
        answer = super().store_instances(datasets, *args, **options)
        answer.RetrieveURL = f"http://archive/studies/1/series/{datasets[0].SeriesInstanceUID}"
        return answer

    def retrieve_series_metadata(self, *args: Any, **options: Any) -> Any:
        self.queries.append("metadata")
        return super().retrieve_series_metadata(*args, **options)

    def retrieve_instance(self, *args: Any, **options: Any) -> Any:
        found = super().retrieve_instance(*args, **options)
        self.queries.append(found.Modality)
        return found


@pytest.fixture
def source(tmp_path: Path) -> list[Dataset]:
    """A CT as the instances of a series."""
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([-1.5, -1.5, 2.0, 1.0]))
    nib.save(image, tmp_path / "ct.nii.gz")
    return ct_series(tmp_path / "ct.nii.gz", "P")


@pytest.fixture
def client(tmp_path: Path, source: list[Dataset]) -> Files:
    (tmp_path / "archive").mkdir()
    files = Files(tmp_path / "archive")
    files.store_instances(source)
    return files


@pytest.fixture
def store(tmp_path: Path, client: Files, source: list[Dataset]) -> ArchiveStore:
    made = DICOMWebDatastore(client, {"Modality": "CT"}, cache_path=str(tmp_path / "cache"))  # type: ignore[arg-type]
    app = tmp_path / "app"
    recording = attach_records(made, LabelVersions(app, Ledger.of(app)), Proposals(), NAMES)
    assert isinstance(recording, ArchiveStore)
    return recording


@pytest.fixture
def series(source: list[Dataset]) -> str:
    return str(source[0].SeriesInstanceUID)


def make_seg(source: list[Dataset], value: int, made: str, name: str = "") -> Dataset:
    """Return a SEG of one block with a content time."""
    planes = np.zeros((len(source), source[0].Rows, source[0].Columns, 1), np.uint8)
    planes[2:5, 2 : 4 + value, 3:6] = 1
    seg = segmentation(source, planes, [name or NAMES[value]])
    seg.ContentDate, seg.ContentTime = "20270101", made
    return seg


def expire_cache(store: ArchiveStore) -> None:
    """Clear the query cache, as the expiry time does."""
    for lister in (ArchiveStore.list_images, ArchiveStore.segmentations):
        lister.cache.clear()  # type: ignore[attr-defined]


def values(store: ArchiveStore, series: str) -> set[int]:
    return set(np.unique(np.asarray(nib.load(store.get_label_uri(series, FINAL)).dataobj)).tolist())


def test_the_newest_seg_is_the_label_whatever_the_order_of_the_listing(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str
) -> None:
    assert store.get_labeled_images() == [] and store.get_label_by_image_id(series, FINAL) == ""
    expire_cache(store)
    client.store_instances([make_seg(source, 2, "120000"), make_seg(source, 1, "110000")])
    assert store.get_labeled_images() == [series] and store.get_unlabeled_images() == []
    assert store.get_label_by_image_id(series, FINAL) == series and values(store, series) == {0, 2}
    expire_cache(store)
    client.store_instances([make_seg(source, 1, "130000.5")])
    assert [pair["image"] for pair in store.datalist()] == [store.get_image_uri(series)]
    assert values(store, series) == {0, 1}
    rows = store.labels.ledger.rows("label", series)
    assert [row.body["source"] for row in rows] == [FOUND, FOUND] and store.labels.newest(series, FINAL)


def test_a_label_saved_here_is_newer_than_the_segs_it_replaces_whatever_their_times(
    store: ArchiveStore,
    client: Files,
    source: list[Dataset],
    series: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # finds the converter's program
    ahead, later = (make_seg(source, 1, made) for made in ("235959.9", "235959.5"))
    ahead.ContentDate = later.ContentDate = "20991231"
    client.store_instances([ahead])
    store.datalist()
    mine = np.zeros(SHAPE, np.uint8)
    mine[3:6, 3:6, 2:4] = 2
    nib.save(nib.Nifti1Image(mine, nib.load(store.get_image_uri(series)).affine), tmp_path / "mine.nii.gz")
    listed_before = store.segmentations()
    store.save_label(series, str(tmp_path / "mine.nii.gz"), FINAL, {})
    own = store.get_label_info(series, FINAL)["SeriesInstanceUID"]
    assert store.segmentations()[series].series == own and store.datalist() and values(store, series) == {0, 2}
    store._adopt_segmentation(listed_before[series])
    assert values(store, series) == {0, 2}, "a listing from before the save must not replace the label"

    client.store_instances([later])
    expire_cache(store)
    assert store.datalist() and values(store, series) == {0, 1}, "a SEG stored after it is newer"
    expire_cache(store)
    assert store.segmentations()[series].series == later.SeriesInstanceUID, "the newer SEG stays the label"
    client.deleted |= {later.SeriesInstanceUID, own}
    expire_cache(store)
    assert store.datalist() and store.get_label_info(series, FINAL)["SeriesInstanceUID"] == ahead.SeriesInstanceUID


def test_metadata_and_instances_are_fetched_once(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str
) -> None:
    client.store_instances([make_seg(source, 1, "110000"), make_seg(source, 2, "120000")])
    for _ in range(3):
        expire_cache(store)
        store.datalist()
        store.get_label_by_image_id(series, FINAL)
    assert client.queries.count("metadata") == 2 and client.queries.count("SEG") == 1


def test_an_unreadable_seg_is_logged_once_and_ignored(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.store_instances([make_seg(source, 1, "110000")])
    store.datalist()
    client.store_instances([make_seg(source, 1, "120000", name="liver")])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            expire_cache(store)
            assert len(store.datalist()) == 1 and values(store, series) == {0, 1}
    assert sum("LABEL_NAMES" in record.getMessage() for record in caplog.records) == 1
    (refused,) = store.refused
    assert refused.study == series and "Its segments are liver" in refused.finding.reason


def test_a_seg_of_another_organ_leaves_its_series_unlabelled(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str
) -> None:
    client.store_instances([make_seg(source, 1, "110000", name="liver")])
    assert store.get_labeled_images() == [] and store.get_unlabeled_images() == [series] and store.datalist() == []
    assert [label.study for label in store.refused] == [series]


def test_a_seg_that_is_not_on_the_slices_leaves_its_series_unlabelled(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str
) -> None:
    seg = make_seg(source, 1, "110000")
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 0.9
    client.store_instances([seg])
    assert store.datalist() == [] and store.get_labeled_images() == []
    assert [label.finding.code for label in store.refused] == ["LABEL_GRID"]


def test_a_conversion_of_an_earlier_version_is_kept_only_if_it_lies_on_the_slices(
    store: ArchiveStore, series: str
) -> None:
    file = Path(store.get_image_uri(series))
    store.update_image_info(series, {READER: False})
    right = nib.load(file)
    before = file.stat().st_mtime_ns
    store._read_here.clear()
    assert Path(store.get_image_uri(series)).stat().st_mtime_ns == before, "the same grid"
    moved = right.affine.copy()
    moved[2, 3] += 4
    nib.save(nib.Nifti1Image(np.asarray(right.dataobj), moved), file)
    store._read_here.clear()
    assert np.allclose(nib.load(store.get_image_uri(series)).affine, right.affine), "converted again"


def test_a_label_is_removed_with_its_seg_and_its_version_stays(
    store: ArchiveStore, client: Files, source: list[Dataset], series: str
) -> None:
    seg = make_seg(source, 1, "110000")
    client.store_instances([seg])
    store.datalist()
    expire_cache(store)
    client.deleted.add(seg.SeriesInstanceUID)
    assert store.datalist() == [] and store.get_labeled_images() == []
    rows = store.labels.ledger.rows("label", series)
    assert [row.body["source"] for row in rows] == [FOUND, REMOVED]
    ((file, _),) = rows[0].body["files"].items()
    assert (store.labels.app_dir / file).is_file()
