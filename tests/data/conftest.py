"""Small synthetic scans with random affines, as arrays and as files of all formats."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def make_head(shape: tuple[int, ...] = (24, 28, 20), noise_hu: float = 10.0, seed: int = 0) -> np.ndarray:
    """Return int16 HU: a soft ellipsoid in air with an airway through it."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    x, y, *rest = np.meshgrid(*axes, indexing="ij")
    z = rest[0] if rest else np.zeros_like(x)
    hu = np.where(x**2 + y**2 + 0.5 * z**2 < 0.7, 40.0, -1000.0)
    hu[(x**2 + (y - 0.2) ** 2) < 0.04] = -1000.0
    return np.clip(hu + rng.normal(0, noise_hu, shape), -32768, 32767).astype(np.int16)


def make_affine(seed: int, *, oblique: bool = True) -> np.ndarray:
    """Return a random affine: permuted and flipped axes, anisotropic spacing, and a rotation if `oblique`."""
    rng = np.random.default_rng(seed)
    axes = np.eye(3)[:, rng.permutation(3)] * rng.choice([-1, 1], 3)
    if oblique:
        turn, _ = np.linalg.qr(np.eye(3) + 0.25 * rng.normal(size=(3, 3)))
        axes = turn * np.sign(np.diag(turn)) @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.5, 3.0, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


@pytest.fixture
def head() -> Callable[..., np.ndarray]:
    return make_head


@pytest.fixture
def random_affine() -> Callable[..., np.ndarray]:
    return make_affine


@pytest.fixture
def nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as NIfTI and return its path."""

    def write(array: np.ndarray, affine: np.ndarray | None = None, name: str = "case.nii.gz") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
        return path

    return write


def write_slice(path: Path, plane: np.ndarray, **tags: object) -> None:
    """Write one CT slice ``(X, Y)`` in HU, stored with slope 2 and intercept -1024."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.SeriesInstanceUID, ds.StudyInstanceUID = "CT", "patient-7", "1.2.3", "1.2"
    ds.Columns, ds.Rows = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 2, -1024
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.PixelData = np.rint((plane.T.astype(float) + 1024) / 2).astype("<i2").tobytes()
    pydicom.dcmwrite(str(path), ds, write_like_original=False)


@pytest.fixture
def dicom_series(tmp_path: Path) -> Callable[..., Path]:
    """Write a series whose file names are in the reverse order of the slices, and return the folder."""

    def write(array: np.ndarray, step_mm: tuple[float, float, float] = (0.0, 0.0, 2.0), **tags: object) -> Path:
        folder = tmp_path / "series"
        folder.mkdir()
        for k in range(array.shape[2]):
            position = [-10.0 + k * step_mm[0], 5.0 + k * step_mm[1], 30.0 + k * step_mm[2]]
            geometry = {
                "ImagePositionPatient": position,
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.8, 0.5],
                "SliceThickness": 2,
                "InstanceNumber": k + 1,
            }
            write_slice(folder / f"{array.shape[2] - k:03d}.dcm", array[:, :, k], **{**geometry, **tags})
        return folder

    return write
