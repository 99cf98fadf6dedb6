"""Scans of all formats are read and written: counts, geometry and the notice that they are processed."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.data.findings import InputRejected
from lib.data.scintigraphy.counts import read_counts
from lib.data.scintigraphy.derived import NOTICE
from lib.data.scintigraphy.scans import affine_of, default_suffix, read_scan, write_restored
from tests.data.scintigraphy.conftest import make_counts

Write = Callable[..., Path]
TEXTS = {"description": "Restored by a test", "software": "test"}


def nifti(path: Path, counts: np.ndarray, dtype: type = np.int16) -> Path:
    array = counts.transpose(2, 1, 0).astype(dtype)
    nib.save(nib.Nifti1Image(array, np.diag([2.4, 2.5, 1, 1])), path)
    return path


@pytest.fixture
def files(scan_file: Write, tmp_path: Path) -> dict[str, Path]:
    """The same counts in all formats; the PNG has only the first view."""
    counts = make_counts()
    found = {".dcm": scan_file(counts), ".nii.gz": nifti(tmp_path / "scan.nii.gz", counts)}
    image = sitk.GetImageFromArray(counts.astype(np.int16))
    image.SetSpacing([2.4, 2.5, 1.0])
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    Image.fromarray(counts[0].astype(np.uint8)).save(tmp_path / "scan.png")
    return found | {".nrrd": tmp_path / "scan.nrrd", ".png": tmp_path / "scan.png"}


@pytest.mark.parametrize("suffix", [".dcm", ".nii.gz", ".nrrd", ".png"])
def test_counts_are_the_same_from_all_formats(files: dict[str, Path], suffix: str) -> None:
    scan, expected = read_scan(files[suffix]), make_counts()
    assert np.array_equal(scan.counts, expected if suffix != ".png" else expected[:1]) and scan.counts.dtype == np.int32
    assert default_suffix(files[suffix]) == suffix and len(scan.views) == len(scan.counts)
    if suffix in (".nii.gz", ".nrrd"):
        assert scan.spacing_mm == pytest.approx((2.5, 2.4))


@pytest.mark.parametrize("source", [".dcm", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("target", [".nii.gz", ".nii", ".nrrd"])
def test_restored_scan_has_the_geometry_of_its_source(
    files: dict[str, Path], source: str, target: str, tmp_path: Path
) -> None:
    scan = read_scan(files[source])
    expected = scan.counts * 1.5 + 0.25
    path = write_restored(scan, expected, tmp_path / f"out{target}", **TEXTS)
    if target == ".nrrd":
        image = sitk.ReadImage(str(path))
        assert image.GetMetaData("notice") == NOTICE and image.GetMetaData("description") == "Restored by a test"
        found, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[:2]
    else:
        image = nib.load(path)
        assert image.header["descrip"].item().startswith(b"PROCESSED")
        np.testing.assert_allclose(image.affine, affine_of(scan))
        found, spacing = np.asarray(image.dataobj).transpose(2, 1, 0), image.header.get_zooms()[:2]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert spacing == pytest.approx((scan.spacing_mm[1], scan.spacing_mm[0]))


def test_dicom_source_gives_a_derived_dicom(files: dict[str, Path], tmp_path: Path) -> None:
    scan = read_scan(files[".dcm"])
    path = write_restored(scan, scan.counts * 2.0, tmp_path / "out.dcm", **TEXTS)
    derived = pydicom.dcmread(path)
    assert derived.ImageType[0] == "DERIVED" and NOTICE in derived.DerivationDescription
    assert np.array_equal(read_counts(path).counts, 2 * scan.counts)


def test_scan_with_one_view_is_written_as_png_of_rounded_counts(files: dict[str, Path], tmp_path: Path) -> None:
    scan = read_scan(files[".png"])
    path = write_restored(scan, scan.counts * 300.0, tmp_path / "out.png", **TEXTS)
    image = Image.open(path)
    assert np.array_equal(np.asarray(image), scan.counts[0] * 300) and image.text["Comment"] == NOTICE
    assert read_scan(path).counts.shape == scan.counts.shape


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (".nii.gz", "out.dcm", "needs a source that is DICOM"),
        (".dcm", "out.png", "has one view"),
        (".dcm", "o.exe", "use"),
    ],
)
def test_formats_that_cannot_store_the_scan_are_refused(
    files: dict[str, Path], source: str, target: str, message: str, tmp_path: Path
) -> None:
    scan = read_scan(files[source])
    with pytest.raises(ValueError, match=message):
        write_restored(scan, scan.counts * 1.0, tmp_path / target, **TEXTS)
    assert not (tmp_path / target).exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c: c + 0.5, "NOT_COUNTS"),
        (lambda c: -c.astype(float), "NOT_COUNTS"),
        (lambda c: 0 * c, "EMPTY"),
        (lambda c: np.full_like(c, 9), "NOT_COUNTS"),
        (lambda c: np.tile(c, (5, 1, 1)), "WRONG_DIMENSION"),
    ],
    ids=["fractions", "negative", "empty", "smooth", "a volume"],
)
def test_volumes_that_are_not_counts_are_refused(change: Callable, code: str, tmp_path: Path) -> None:
    with pytest.raises(InputRejected) as refused:
        read_scan(nifti(tmp_path / "bad.nii.gz", change(make_counts()), np.float32))
    assert refused.value.findings[0].code == code
