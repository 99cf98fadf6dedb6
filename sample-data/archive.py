"""Run a local Orthanc with CT volumes as DICOM: a small DICOM archive to try the server with."""

import hashlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from dicomweb_client.api import DICOMwebClient
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
INSTALL = "apt-get install orthanc orthanc-dicomweb"
START_SECONDS, END_SECONDS = 60.0, 20.0

FIXED = {
    "SOPClassUID": CTImageStorage, "Modality": "CT", "Manufacturer": "", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "PatientBirthDate": "", "PatientSex": "", "StudyDate": "20260101", "StudyTime": "120000", "StudyID": "1",
    "AccessionNumber": "", "ReferringPhysicianName": "", "SeriesNumber": 1, "AcquisitionNumber": 1, "Laterality": "",
    "PatientPosition": "HFS", "PositionReferenceIndicator": "", "KVP": "120", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 1, "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "HU",
    "WindowCenter": "-300", "WindowWidth": "1400",
}  # fmt: skip
"""Attributes that the CT Image IOD requires and a NIfTI does not have; they describe no real patient."""


class NoArchive(RuntimeError):
    """Raised if Orthanc cannot be started; the message gives the reason and the next step."""


@dataclass(frozen=True)
class Archive:
    """A running Orthanc.

    Args:
        url: Address of the REST interface; DICOMweb is below it.
    """

    url: str

    @property
    def dicomweb(self) -> str:
        """The DICOMweb address, for ``--studies``."""
        return f"{self.url}/dicom-web"

    def store(self, datasets: list[Dataset]) -> None:
        """Store instances by STOW-RS; instances that the archive already has do not change."""
        DICOMwebClient(self.dicomweb).store_instances(datasets)

    def answers(self) -> bool:
        """Return whether Orthanc answers."""
        try:
            return requests.get(f"{self.url}/system", timeout=5).ok
        except requests.RequestException:
            return False


def installed() -> bool:
    """Return whether Orthanc and its DICOMweb plugin are installed."""
    return shutil.which("Orthanc") is not None and PLUGIN.exists()


@contextmanager
def orthanc(folder: Path, port: int = 0) -> Iterator[Archive]:
    """Run an Orthanc that only this machine can reach, until the block ends.

    Args:
        folder: Folder of its storage, settings and log; created if it does not exist.
        port: Port to listen on; 0 chooses a free port.
    Raises:
        NoArchive: If Orthanc is not installed, the port is in use, or Orthanc does not start.
    """
    if not installed():
        raise NoArchive(f"Orthanc with its DICOMweb plugin is not installed. As root, run: {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    port = _port(port)
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        # Its own process group: Ctrl+C must end the server first, because the server still uses the archive.
        command = ["Orthanc", str(folder / "orthanc.json")]
        process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0)
    try:
        archive, end = Archive(f"http://127.0.0.1:{port}"), time.monotonic() + START_SECONDS
        while not archive.answers():
            if process.poll() is not None or time.monotonic() > end:
                raise NoArchive(f"Orthanc did not start. The end of its log {log}:\n{log.read_text()[-1000:]}")
            time.sleep(0.1)
        yield archive
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NoArchive(f"port {port} is not available ({error.strerror}); choose another port") from None
        return probe.getsockname()[1]


def ct_series(image: Path, patient: str) -> list[Dataset]:
    """Return a CT volume as the instances of one series, with the same UIDs in each run.

    Args:
        image: NIfTI file in HU, any orientation.
        patient: PatientID, and family name of the patient.
    """
    volume: Any = nib.load(image)  # type: ignore[attr-defined]
    # The axes of DICOM point to the left, the back and the head (LPS).
    turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(("L", "P", "S")))
    volume = volume.as_reoriented(turn)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    along = affine[:3, :3] / spacing_mm
    voxels = np.rint(np.asarray(volume.dataobj)).astype("<i2")
    digest = hashlib.sha256(voxels.tobytes()).hexdigest()

    def uid(*parts: object) -> UID:
        return generate_uid(entropy_srcs=[digest, patient, *map(str, parts)])

    name, shape = image.name.split(".")[0], voxels.shape
    shared = FIXED | {
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid("series"),
        "FrameOfReferenceUID": uid("frame"),
        "StudyDescription": name,
        "SeriesDescription": name,
        "PatientID": patient,
        "PatientName": f"{patient}^Sample",
        "ImageOrientationPatient": [_decimal(x) for x in (*along[:, 0], *along[:, 1])],
        "PixelSpacing": [_decimal(spacing_mm[1]), _decimal(spacing_mm[0])],
        "SliceThickness": _decimal(spacing_mm[2]),
        "Rows": shape[1],
        "Columns": shape[0],
    }
    instances = []
    for k in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, uid("instance", k)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        instance = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        instance.is_little_endian, instance.is_implicit_VR = True, False
        own = {
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [_decimal(x) for x in (affine @ [0, 0, k, 1])[:3]],
            "PixelData": np.ascontiguousarray(voxels[:, :, k].T).tobytes(),
        }
        for name, value in {**shared, **own}.items():
            setattr(instance, name, value)
        instances.append(instance)
    return instances


def _decimal(number: float) -> str:
    """Return a number as a DICOM decimal string of at most 16 characters."""
    return f"{number + 0.0:.10g}"[:16]
