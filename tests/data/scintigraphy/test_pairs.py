"""Pairs are found, read and refused in a miniature folder tree."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.scintigraphy.pairs import find_pairs, read_pair
from lib.data.scintigraphy.thinning import thin
from tests.data.scintigraphy.conftest import make_counts

Write = Callable[..., Path]
STANDARD = make_counts()
RAPID = thin(STANDARD, 0.5, np.random.default_rng(0))[0]


def write_pair(scan_file: Write, patient: str = "p1", **rapid: object) -> None:
    counts = rapid.pop("counts", RAPID)
    scan_file(STANDARD, f"{patient}/standard.dcm", ScanVelocity=rapid.pop("standard_velocity", 3.33))
    scan_file(counts, f"{patient}/rapid_1.dcm", **{"ScanVelocity": 6.66, **rapid})


def test_pairs_are_sorted_by_patient(scan_file: Write, tmp_path: Path) -> None:
    for patient in ("p2", "p1"):
        write_pair(scan_file, patient)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "rapid.txt").write_text("none")
    found = find_pairs(tmp_path)
    assert [pair.patient for pair in found] == ["p1", "p2"]
    assert found[0].rapid == tmp_path / "p1" / "rapid_1.dcm"


def test_fraction_is_the_ratio_of_the_velocities(scan_file: Write, tmp_path: Path) -> None:
    write_pair(scan_file)
    rapid, standard, fraction = read_pair(find_pairs(tmp_path)[0])
    assert fraction == pytest.approx(0.5)
    np.testing.assert_array_equal(rapid.counts, RAPID)
    np.testing.assert_array_equal(standard.counts, STANDARD)


def test_fraction_is_the_ratio_of_the_counts_without_velocities(scan_file: Write, tmp_path: Path) -> None:
    write_pair(scan_file, ScanVelocity=None)
    assert read_pair(find_pairs(tmp_path)[0])[2] == pytest.approx(RAPID.sum() / STANDARD.sum())


@pytest.mark.parametrize("tags", [{"PixelSpacing": [2.0, 2.4]}, {"counts": RAPID[:, :40]}, {"DetectorVector": [2, 1]}])
def test_scans_on_different_grids_are_refused(scan_file: Write, tmp_path: Path, tags: dict) -> None:
    write_pair(scan_file, **tags)
    with pytest.raises(InputRejected, match="PAIR_GRID"):
        read_pair(find_pairs(tmp_path)[0])


def test_missing_or_additional_scans_are_refused(scan_file: Write, tmp_path: Path) -> None:
    scan_file(STANDARD, "p1/standard.dcm")
    with pytest.raises(ValueError, match="0 rapid and 1 standard"):
        find_pairs(tmp_path)
    write_pair(scan_file)
    scan_file(RAPID, "p1/rapid_2.dcm")
    with pytest.raises(ValueError, match="2 rapid and 1 standard"):
        find_pairs(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_pairs(tmp_path / "absent")
