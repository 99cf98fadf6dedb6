"""Recorded counts are read unchanged, and other pixels are refused with a reason."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless
from scipy.ndimage import gaussian_filter

from lib.data.findings import InputRejected
from lib.data.scintigraphy.counts import dispersion, read_counts
from tests.data.scintigraphy.conftest import make_counts

Write = Callable[..., Path]


def test_two_views_as_stored(scan_file: Write) -> None:
    counts = make_counts()
    counts[0, 3, 5] = 40_000
    scan = read_counts(scan_file(counts, PixelSpacing=[2.5, 2.4]))
    np.testing.assert_array_equal(scan.counts, counts)
    assert scan.counts.dtype == np.int32
    assert (scan.views, scan.spacing_mm, scan.patient) == (("anterior", "posterior"), (2.5, 2.4), "child-7")
    assert (scan.velocity_mm_s, scan.duration_s) == (5.0, 600.0)


def test_views_are_named_by_detectors_in_any_order(scan_file: Write) -> None:
    assert read_counts(scan_file(DetectorVector=[2, 1])).views == ("posterior", "anterior")
    assert read_counts(scan_file(DetectorInformationSequence=None)).views == ("", "")


def test_one_frame_without_vectors(scan_file: Write) -> None:
    bare = dict.fromkeys(("DetectorVector", "EnergyWindowVector", "NumberOfFrames", "ScanVelocity", "PatientID"))
    scan = read_counts(scan_file(make_counts(1), ActualFrameDuration=None, CountsAccumulated=None, **bare))
    assert scan.counts.shape == (1, 48, 24)
    assert (scan.velocity_mm_s, scan.duration_s, scan.patient) == (None, None, "")


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"Modality": "CT"}, "UNKNOWN_MODALITY"),
        ({"Modality": None}, "UNKNOWN_MODALITY"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}, "WRONG_DIMENSION"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]}, "WRONG_DIMENSION"),
        ({"DetectorVector": [1, 2, 1]}, "WRONG_DIMENSION"),
        ({"EnergyWindowVector": [1]}, "WRONG_DIMENSION"),
        ({"EnergyWindowVector": [1, 2]}, "WRONG_DIMENSION"),
        ({"PixelSpacing": None}, "BAD_AFFINE"),
        ({"PixelSpacing": [0, 0]}, "BAD_AFFINE"),
        ({"PixelSpacing": [240.0, 240.0]}, "SPACING_ABSURD"),
        ({"CountsAccumulated": 2 * int(make_counts().sum())}, "NOT_COUNTS"),
        ({"RescaleSlope": 2}, "NOT_COUNTS"),
        ({"Columns": 23}, "NOT_COUNTS"),
        ({"NumberOfFrames": 3}, "TRUNCATED"),
        ({"Rows": 60_000, "Columns": 60_000}, "TRUNCATED"),
    ],
)
def test_refused_scans(scan_file: Write, tags: dict, code: str) -> None:
    with pytest.raises(InputRejected) as refused:
        read_counts(scan_file(**tags))
    found = {finding.code for finding in refused.value.findings}
    assert code in found
    assert all(finding.reason and finding.remedy for finding in refused.value.findings)


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        (np.zeros((2, 48, 24), np.uint16), "EMPTY"),
        (np.rint(gaussian_filter(make_counts().astype(float), (0, 2, 2))).astype(np.uint16), "NOT_COUNTS"),
    ],
)
def test_pixels_that_are_not_recorded_counts_are_refused(scan_file: Write, counts: np.ndarray, code: str) -> None:
    with pytest.raises(InputRejected, match=code):
        read_counts(scan_file(counts))


def test_negative_pixels_are_refused(scan_file: Write) -> None:
    counts = make_counts()
    counts[0, 0, 0] = 65535  # -1 in the signed representation
    with pytest.raises(InputRejected, match="run from -1 to"):
        read_counts(scan_file(counts, PixelRepresentation=1, LargestImagePixelValue=None))


def test_compressed_file_with_a_huge_size_is_refused(scan_file: Write) -> None:
    path = scan_file()
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.Rows = dataset.Columns = 8000
    dataset.save_as(path)
    with pytest.raises(InputRejected, match="TOO_LARGE"):
        read_counts(path)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_huge_number_of_frames_is_refused_before_memory_is_allocated(scan_file: Write, rows: int) -> None:
    path = scan_file(DetectorVector=None, EnergyWindowVector=None)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.Rows, dataset.NumberOfFrames = rows, 2_000_000_000
    dataset.save_as(path)
    tracemalloc.start()
    with pytest.raises(InputRejected, match="TOO_LARGE"):
        read_counts(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("kept", [0, 100, 131, 140, 600, 1500, 2500])
def test_file_truncated_anywhere_is_refused(scan_file: Write, kept: int) -> None:
    path = scan_file()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputRejected):
        read_counts(path)


def test_damaged_file_is_read_or_refused(scan_file: Write) -> None:
    """A damaged file gives a scan or an InputRejected, and no other exception."""
    path, rng, refused = scan_file(), np.random.default_rng(0), 0
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(132, 1100, 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert read_counts(path).counts.min() >= 0
        except InputRejected:
            refused += 1
    assert refused > 5


def test_files_that_are_not_dicom_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    for path in (tmp_path / "a.dcm", tmp_path / "absent.dcm", tmp_path):
        with pytest.raises(InputRejected, match="NOT_AN_IMAGE"):
            read_counts(path)


def test_dispersion_separates_counts_from_smoothed_and_scaled_images() -> None:
    flat = np.random.default_rng(1).poisson(20, (1, 300, 300))
    assert dispersion(flat) == pytest.approx(1, abs=0.03)
    assert dispersion(3 * flat) == pytest.approx(3, abs=0.1)
    assert dispersion(gaussian_filter(flat.astype(float), (0, 1, 1))) < 0.1
    assert np.isnan(dispersion(np.zeros((1, 9, 9))))


def test_real_scan(real_scan: Path) -> None:
    scan = read_counts(real_scan)
    assert scan.counts.shape == (1, 1024, 256)
    assert (int(scan.counts.sum()), int(scan.counts.max())) == (3_596_452, 278)
    assert scan.spacing_mm == (2.26, 2.26) and scan.views == ("",)
    assert 0.9 < dispersion(scan.counts) < 1.2
