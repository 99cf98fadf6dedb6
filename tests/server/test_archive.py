"""The loop over a DICOMweb server: a real Orthanc, CT series, and labels kept locally and sent as DICOM SEG."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from archive import INSTALL, Archive, ct_series, installed, orthanc

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, UNFINISHED
from lib.records.card import hash_file
from lib.records.labels import FOUND, SUBMITTED
from lib.records.ledger import Ledger
from lib.records.verify import verify
from tests.segmentations import segmentation

pytestmark = [pytest.mark.server, pytest.mark.skipif(not installed(), reason=f"Orthanc is not here: {INSTALL}")]
PATIENTS = ("P-Anna", "P-Anna", "P-Bert")
"""Whose the studies are: two of them are one patient's."""


@pytest.fixture
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An empty Orthanc for this file."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


def send(archive: Archive, image: Path, patient: str) -> str:
    """Send a CT to the archive as a series and return its UID."""
    instances = ct_series(image, patient)
    archive.store(instances)
    return str(instances[0].SeriesInstanceUID)


def put(url: str, series: str, label: Path, info: list[dict[str, Any]]) -> requests.Response:
    with label.open("rb") as file:
        address = f"{url}/datastore/label?image={series}&tag=final"
        data = {"params": json.dumps({"label_info": info})}
        return requests.put(address, data=data, files={"label": (label.name, file)}, timeout=60)


def sent_there(archive: Archive) -> list[pydicom.Dataset]:
    """Return the instances of modality SEG in the archive."""
    query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
    found = requests.post(f"{archive.url}/tools/find", json=query, timeout=30).json()
    files = [requests.get(f"{archive.url}/instances/{name}/file", timeout=30).content for name in found]
    return [pydicom.dcmread(pydicom.filebase.DicomBytesIO(each)) for each in files]


def test_the_loop_over_an_archive(
    archive: Archive,
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    make_ct: Callable,
    write_nifti: Callable[..., Path],
    wait: Callable,
) -> None:
    scans = [make_ct(seed) for seed in range(len(PATIENTS))]
    images = [write_nifti(hu, tmp_path / f"ct_{number}.nii.gz") for number, (hu, _) in enumerate(scans)]
    series = [send(archive, image, patient) for image, patient in zip(images, PATIENTS, strict=True)]
    app = new_app(tmp_path / "app")
    torn = torn_download(app, archive.dicomweb, series[0])
    server = launch(command, app, archive.dicomweb, tmp_path)
    url = server.url
    assert torn.exists() and requests.get(f"{url}/datastore/", timeout=30).json()["total"] == 3
    assert requests.post(f"{url}/infer/tubes?image=1.2.3&output=image", timeout=60).status_code == 404

    for number, (name, (_, label)) in enumerate(zip(series, scans, strict=True)):
        params = {"params": '{"result_extension": ".nii.gz"}'}
        answer = requests.post(f"{url}/infer/tubes?image={name}&output=image", data=params, timeout=120)
        assert answer.ok, answer.text
        (tmp_path / "proposal.nii.gz").write_bytes(answer.content)
        affine = nib.load(tmp_path / "proposal.nii.gz").affine
        path = tmp_path / f"mine_{number}.nii.gz"
        # As Slicer may number the labels: by their position in its list.
        screen = np.array([0, 2, 1], np.uint8)[label[::-1, ::-1]]
        nib.save(nib.Nifti1Image(screen, affine), path)
        saved = put(url, name, path, [{"name": "cavity", "idx": 1}, {"name": "tube", "idx": 2}])
        assert saved.ok, saved.text
        status = requests.get(f"{url}/datastore/", timeout=30).json()
        assert status["completed"] == number + 1, "at once, independent of caches"
        following = requests.post(f"{url}/activelearning/random", json={}, timeout=30).json()
        assert following["id"] in (series[number + 1 :] or [""])

    nib.save(nib.Nifti1Image(np.zeros_like(screen), affine), tmp_path / "nothing.nii.gz")
    empty = put(url, series[0], tmp_path / "nothing.nii.gz", [])
    assert empty.status_code == 422 and empty.json()["code"] == "EMPTY_LABEL"
    kept_here_and_there(archive, app, series, scans)
    survives_a_failed_conversion(url, app, series[2], tmp_path)
    trained_by_patient(url, app, series, wait)
    another_program_s_counts(archive, url, app, series[0], images[0], tmp_path / "mine_0.nii.gz", wait)

    assert put(url, series[2], tmp_path / "mine_1.nii.gz", []).ok, "a label may be corrected"
    requests.post(f"{archive.url}/tools/shutdown", timeout=30)
    wait(lambda: not archive.answers(), 60, "Orthanc to end")
    refused = put(url, series[2], tmp_path / "mine_0.nii.gz", [])
    assert refused.status_code == 502 and refused.json()["code"] == "ARCHIVE_UNAVAILABLE", refused.text
    rows = Ledger.of(app).rows("label", series[2])
    assert [row.body["tag"] for row in rows] == ["final", "unsent", "final", "unsent"]
    kept = app / refused.json()["kept"]
    assert kept.read_bytes() == (tmp_path / "mine_0.nii.gz").read_bytes(), "unchanged since it was submitted"
    assert verify(app).faults == []


def torn_download(app: Path, address: str, series: str) -> Path:
    """Simulate a server killed while fetching a series: one slice of many, and no NIfTI file."""
    from monailabel.utils.others.generic import md5_digest

    folder = app / "model" / ".dicomweb" / md5_digest(address) / series
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_bytes(b"half a slice")
    return folder


def survives_a_failed_conversion(url: str, app: Path, series: str, folder: Path) -> None:
    """The conversion to SEG fails: the label is kept, and the store keeps the previous label."""
    (slices,) = (app / "model" / ".dicomweb").glob(f"*/{series}")
    slices.rename(slices.with_name("elsewhere"))
    slices.mkdir()
    refused = put(url, series, folder / "mine_1.nii.gz", [])
    slices.rmdir()
    slices.with_name("elsewhere").rename(slices)
    assert refused.status_code == 502 and (app / refused.json()["kept"]).exists(), refused.text
    assert [row.body["tag"] for row in Ledger.of(app).rows("label", series)] == ["final", "unsent"]


def another_program_s_counts(
    archive: Archive, url: str, app: Path, series: str, image: Path, mine: Path, wait: Callable
) -> None:
    """A SEG stored by another program becomes the label, until a label is saved on this server again."""
    source = ct_series(image, PATIENTS[0])
    planes = np.zeros((len(source), source[0].Rows, source[0].Columns, 2), np.uint8)
    planes[2:6, 4:9, 4:9, 0], planes[4:8, 9:12, 6:12, 1] = 1, 1
    archive.store([segmentation(source, planes, ["cavity", "tube"])])
    expected = np.where(planes[..., 1], 1, 2 * planes[..., 0]).transpose(2, 1, 0)

    def stored() -> np.ndarray:
        answer = requests.get(f"{url}/datastore/label?label={series}&tag=final", timeout=60)
        assert answer.ok, answer.text
        mine.with_name("got.nii.gz").write_bytes(answer.content)
        return np.asarray(nib.load(mine.with_name("got.nii.gz")).dataobj)

    wait(lambda: np.array_equal(stored(), expected), 60, "the other program's SEG")
    row = Ledger.of(app).rows("label", series)[-1]
    assert (row.body["tag"], row.body["source"]) == ("final", FOUND)
    assert put(url, series, mine, []).ok
    assert np.array_equal(stored(), np.asarray(nib.load(mine).dataobj)), "the newest label counts"
    assert Ledger.of(app).rows("label", series)[-1].body["source"] == SUBMITTED


def kept_here_and_there(archive: Archive, app: Path, series: list[str], scans: list[Any]) -> None:
    """Every submitted label is kept as a version, and as a SEG whose segments have the right names."""
    rows = {row.subject: row for row in Ledger.of(app).rows("label")}
    assert set(rows) == set(series)
    sent = {str(each.ReferencedSeriesSequence[0].SeriesInstanceUID): each for each in sent_there(archive)}
    assert set(sent) == set(series)
    for name, (_, label) in zip(series, scans, strict=True):
        ((file, digest),) = rows[name].body["files"].items()
        assert hash_file(app / file) == digest
        voxels = np.asarray(nib.load(app / file).dataobj)[::-1, ::-1]
        assert np.array_equal(voxels, label), "with the app's label values, on the grid of the image"
        assert rows[name].body["version"] == "starter" and rows[name].body["edit_ml"] is not None
        seg = sent[name]
        counts: dict[str, int] = {}
        for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
            number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            segment = next(each for each in seg.SegmentSequence if each.SegmentNumber == number)
            counts[segment.SegmentLabel] = counts.get(segment.SegmentLabel, 0) + int(plane.sum())
        assert counts == {"tube": int((label == 1).sum()), "cavity": int((label == 2).sum())}


def trained_by_patient(url: str, app: Path, series: list[str], wait: Callable) -> None:
    """The real worker trains on the studies of the archive; the split identifies patients by their id."""
    queue = Queue(app)
    answer = requests.post(f"{url}/train/tubes", json={"max_epochs": 1, "val_interval": 1}, timeout=30)
    assert answer.ok, answer.text
    name = answer.json()["id"]
    wait(lambda: queue.jobs.get(name).status not in UNFINISHED, 240, "the training")
    job = queue.jobs.get(name)
    assert job.status == DONE, queue.tail(job)
    split = {row.body["case"]: (row.subject, row.body["part"]) for row in Ledger.of(app).rows("split")}
    assert [split[each][0] for each in series] == list(PATIENTS)
    assert split[series[0]][1] == split[series[1]][1] != split[series[2]][1], (
        "both studies of a patient are in the same part"
    )
