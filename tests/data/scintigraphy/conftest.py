"""Small NM files of two views as a camera stores them, and the real scan if its package is installed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, NuclearMedicineImageStorage, generate_uid

from lib.data.scintigraphy.sample import bone_scan

VIEWS = ("Anterior", "Posterior")


def make_counts(views: int = 2, shape: tuple[int, int] = (48, 24), seed: int = 0) -> np.ndarray:
    """Return Poisson counts with a spine."""
    mean = np.full((views, *shape), 6.0)
    mean[:, :, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 40
    return np.random.default_rng(seed).poisson(mean).astype(np.uint16)


def view_item(name: str) -> Dataset:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10206", "SRT", name
    item.ViewCodeSequence = [code]
    return item


def write_scan(path: Path, counts: np.ndarray, **tags: object) -> Path:
    """Write counts ``(V, H, W)`` as an NM file; tags with the value None are left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = NuclearMedicineImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.add_new((0x0009, 0x0010), "LO", "VENDOR")
    ds.add_new((0x0009, 0x1010), "LO", "private")
    frames = len(counts)
    defaults = {
        "Modality": "NM",
        "PatientID": "child-7",
        "PatientName": "Doe^Child",
        "ImageType": ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"],
        "SeriesDescription": "WB bone",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": counts.shape[1],
        "Columns": counts.shape[2],
        "NumberOfFrames": frames,
        "PixelSpacing": [2.4, 2.4],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "EnergyWindowVector": [1] * frames,
        "DetectorVector": list(range(1, frames + 1)),
        "NumberOfDetectors": frames,
        "DetectorInformationSequence": [view_item(name) for name in VIEWS[:frames]],
        "CountsAccumulated": int(counts.sum()),
        "ScanVelocity": 5.0,
        "ActualFrameDuration": 600_000,
        "LargestImagePixelValue": int(counts.max()),
    }
    for name, value in {**defaults, **tags}.items():
        if value is not None:
            setattr(ds, name, value)
    ds.PixelData = counts.astype("<u2").tobytes()
    pydicom.dcmwrite(str(path), ds, write_like_original=False)
    return path


@pytest.fixture
def scan_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a scan and return its path."""

    def write(counts: np.ndarray | None = None, name: str = "scan.dcm", **tags: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_scan(path, make_counts() if counts is None else counts, **tags)

    return write


@pytest.fixture
def real_scan() -> Path:
    """The real bone scan."""
    try:
        return bone_scan()
    except FileNotFoundError as error:
        pytest.skip(str(error))
