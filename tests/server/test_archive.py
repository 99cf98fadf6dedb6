"""The loop over a DICOMweb server: a real Orthanc, real CT series, labels that stay here and go there as DICOM SEG."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, GOING
from lib.records.card import hash_file
from lib.records.ledger import Ledger
from lib.records.verify import verify

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        not (shutil.which("Orthanc") and PLUGIN.exists()),
        reason="Orthanc is not here: apt-get install orthanc orthanc-dicomweb",
    ),
]
PATIENTS = ("P-Anna", "P-Anna", "P-Bert")
"""Whose the studies are: two of them are one patient's."""
SPACING_MM = 2.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, free: Callable[[], int], wait: Callable) -> Iterator[str]:
    """An Orthanc of its own, empty."""
    folder, port = tmp_path_factory.mktemp("orthanc"), free()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: process.poll() is not None or answers(f"{url}/system"), 60, "Orthanc")
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def send(archive: str, hu: np.ndarray, patient: str, folder: Path) -> str:
    """Write a CT ``(X, Y, Z)`` in RAS order as a series, hand it to the archive, return its series' UID."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(np.moveaxis(hu[::-1, ::-1], 2, 0)):  # DICOM's x and y grow to the left and the back
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.is_little_endian, slice_.is_implicit_VR = True, False
        tags = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "Modality": "CT",
            "StudyInstanceUID": study, "SeriesInstanceUID": series, "FrameOfReferenceUID": frame,
            "PatientID": patient, "PatientName": patient, "PatientBirthDate": "", "PatientSex": "",
            "StudyDate": "20260101", "StudyTime": "120000", "StudyID": "1", "AccessionNumber": "",
            "ReferringPhysicianName": "", "SeriesNumber": 1, "InstanceNumber": k + 1,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "ImagePositionPatient": [0, 0, k * SPACING_MM],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [SPACING_MM] * 2,
            "SliceThickness": SPACING_MM, "Rows": plane.shape[1], "Columns": plane.shape[0], "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": 1, "RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "HU",
            "PixelData": plane.T.astype("<i2").tobytes(),
        }  # fmt: skip
        for name, value in tags.items():
            setattr(slice_, name, value)
        file = folder / f"{k}.dcm"
        pydicom.dcmwrite(str(file), slice_, write_like_original=False)
        requests.post(f"{archive}/instances", data=file.read_bytes(), timeout=30).raise_for_status()
    return str(series)


def put(url: str, series: str, label: Path, info: list[dict[str, Any]]) -> requests.Response:
    with label.open("rb") as file:
        address = f"{url}/datastore/label?image={series}&tag=final"
        data = {"params": json.dumps({"label_info": info})}
        return requests.put(address, data=data, files={"label": (label.name, file)}, timeout=60)


def segmentations(archive: str) -> list[pydicom.Dataset]:
    """Return what the archive has of modality SEG."""
    query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
    found = requests.post(f"{archive}/tools/find", json=query, timeout=30).json()
    files = [requests.get(f"{archive}/instances/{name}/file", timeout=30).content for name in found]
    return [pydicom.dcmread(pydicom.filebase.DicomBytesIO(each)) for each in files]


def test_the_loop_over_an_archive(
    archive: str,
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    make_ct: Callable,
    wait: Callable,
) -> None:
    scans = [make_ct(seed) for seed in range(len(PATIENTS))]
    series = [send(archive, hu, patient, tmp_path) for (hu, _), patient in zip(scans, PATIENTS, strict=True)]
    app = new_app(tmp_path / "app")
    torn = torn_download(app, f"{archive}/dicom-web", series[0])
    server = launch(command, app, f"{archive}/dicom-web", tmp_path)
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
        # As Slicer may number them: by their place on its screen.
        screen = np.array([0, 2, 1], np.uint8)[label[::-1, ::-1]]
        nib.save(nib.Nifti1Image(screen, affine), path)
        saved = put(url, name, path, [{"name": "cavity", "idx": 1}, {"name": "tube", "idx": 2}])
        assert saved.ok, saved.text
        told = requests.get(f"{url}/datastore/", timeout=30).json()
        assert told["completed"] == number + 1, "at once, whatever is cached"
        following = requests.post(f"{url}/activelearning/random", json={}, timeout=30).json()
        assert following["id"] in (series[number + 1 :] or [""])

    nib.save(nib.Nifti1Image(np.zeros_like(screen), affine), tmp_path / "nothing.nii.gz")
    empty = put(url, series[0], tmp_path / "nothing.nii.gz", [])
    assert empty.status_code == 422 and empty.json()["code"] == "EMPTY_LABEL"
    kept_here_and_there(archive, app, series, scans)
    trained_by_patient(url, app, series, wait)

    assert put(url, series[2], tmp_path / "mine_1.nii.gz", []).ok, "a label may be mended"
    requests.post(f"{archive}/tools/shutdown", timeout=30)
    wait(lambda: not answers(f"{archive}/system"), 60, "Orthanc to end")
    refused = put(url, series[2], tmp_path / "mine_0.nii.gz", [])
    assert refused.status_code == 502 and refused.json()["code"] == "ARCHIVE_UNAVAILABLE", refused.text
    assert len(Ledger.of(app).rows("label", series[2])) == 2, "both versions, and not the one that was refused"
    assert verify(app).faults == []


def torn_download(app: Path, address: str, series: str) -> Path:
    """Leave what a server that was killed while it fetched a series leaves: a slice of many, and no NIfTI."""
    from monailabel.utils.others.generic import md5_digest

    folder = app / "model" / ".dicomweb" / md5_digest(address) / series
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_bytes(b"half a slice")
    return folder


def kept_here_and_there(archive: str, app: Path, series: list[str], scans: list[Any]) -> None:
    """Every label is a version as it was submitted, and a SEG whose segments bear the right names."""
    rows = {row.subject: row for row in Ledger.of(app).rows("label")}
    assert set(rows) == set(series)
    sent = {str(each.ReferencedSeriesSequence[0].SeriesInstanceUID): each for each in segmentations(archive)}
    assert set(sent) == set(series)
    for name, (_, label) in zip(series, scans, strict=True):
        ((file, digest),) = rows[name].body["files"].items()
        assert hash_file(app / file) == digest
        voxels = np.asarray(nib.load(app / file).dataobj)[::-1, ::-1]
        assert np.array_equal(voxels, label), "in the app's values, on the grid of the image"
        assert rows[name].body["version"] == "starter" and rows[name].body["edit_ml"] is not None
        seg = sent[name]
        counts: dict[str, int] = {}
        for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
            number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            segment = next(each for each in seg.SegmentSequence if each.SegmentNumber == number)
            counts[segment.SegmentLabel] = counts.get(segment.SegmentLabel, 0) + int(plane.sum())
        assert counts == {"tube": int((label == 1).sum()), "cavity": int((label == 2).sum())}


def trained_by_patient(url: str, app: Path, series: list[str], wait: Callable) -> None:
    """The real worker trains on what the archive has; the split knows patients by their id."""
    queue = Queue(app)
    answer = requests.post(f"{url}/train/tubes", json={"max_epochs": 1, "val_interval": 1}, timeout=30)
    assert answer.ok, answer.text
    name = answer.json()["id"]
    wait(lambda: queue.jobs.get(name).status not in GOING, 240, "the training")
    job = queue.jobs.get(name)
    assert job.status == DONE, queue.tail(job)
    split = {row.body["case"]: (row.subject, row.body["part"]) for row in Ledger.of(app).rows("split")}
    assert [split[each][0] for each in series] == list(PATIENTS)
    assert split[series[0]][1] == split[series[1]][1] != split[series[2]][1], "both studies of a patient in one part"
