"""Find cases in plain folders and in a MONAI Label studies folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.data.cases import Case, find_cases, patient_from_name, require_complete_labels

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("phantom_0000", "phantom_0000"),
        ("sub-01_ses-02_ct", "sub-01"),
        ("sub-01_ses-baseline", "sub-01"),
        ("p7_scan2", "p7"),
        ("p7-series_3_crop", "p7"),
        ("p7_preop", "p7"),
        ("p7_post", "p7"),
        ("LIDC-IDRI-0001", "LIDC-IDRI-0001"),
        ("ct_scandinavia_01", "ct_scandinavia_01"),
        ("p7_president", "p7_president"),
        ("session2", "session2"),
    ],
)
def test_patient_is_the_name_without_its_visit(name: str, patient: str) -> None:
    assert patient_from_name(name) == patient


@pytest.mark.parametrize(
    ("name", "pattern", "patient"),
    [
        ("20240102-P17-ct", r"-(P\d+)-", "P17"),
        ("20240102-P17-ct", r"P\d+", "P17"),
        ("phantom_3", r"-(P\d+)-", "phantom_3"),
        ("p7_scan2", r"^(x)?p", "p7_scan2"),
    ],
)
def test_pattern_finds_the_patient_or_keeps_the_name(name: str, pattern: str, patient: str) -> None:
    assert patient_from_name(name, pattern) == patient


def test_studies_folder_of_monai_label_has_final_labels(tmp_path: Path, nifti: Write) -> None:
    voxels = np.zeros((3, 3, 3), np.uint8)
    b = nifti(voxels, name="b_scan1.nii.gz")
    a = nifti(voxels, name="a.nii.gz")
    label = nifti(voxels, name="labels/final/b_scan1.nii.gz")
    nifti(voxels, name="labels/original/a.nii.gz")
    nifti(voxels, name=".a.nii.gz.half.nii.gz")
    (tmp_path / "datastore_v2.json").write_text("{}")
    assert find_cases(tmp_path) == [Case("a", a, None, "a"), Case("b_scan1", b, label, "b")]
    assert [case.patient for case in find_cases(tmp_path, pattern=r"scan\d")] == ["a", "scan1"]


def test_labels_may_be_in_another_folder_and_format(tmp_path: Path, nifti: Write) -> None:
    image = nifti(np.zeros((3, 3, 3), np.uint8), name="images/a.nii.gz")
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "a.nrrd").write_bytes(b"")
    assert find_cases(tmp_path / "images", tmp_path / "marks") == [Case("a", image, tmp_path / "marks" / "a.nrrd", "a")]


def test_dicom_folder_is_a_case_of_its_patient(
    tmp_path: Path, dicom_series: Write, head: Callable[..., np.ndarray]
) -> None:
    folder = dicom_series(head((6, 6, 3)))
    assert find_cases(tmp_path) == [Case("series", folder, None, "patient-7")]


def test_entries_that_are_no_cases_are_named_in_the_log(
    tmp_path: Path, nifti: Write, caplog: pytest.LogCaptureFixture
) -> None:
    voxels = np.zeros((3, 3, 3), np.uint8)
    a = nifti(voxels, name="a.NII")
    for name in ("a.nii.gz", "patient/b.nii.gz", "._a.nii", "labels/final/a.nii", "labels/final/a.nrrd"):
        nifti(voxels, name=name) if name.endswith((".nii", ".gz")) else (tmp_path / name).write_bytes(b"")
    assert find_cases(tmp_path) == [Case("a", a, tmp_path / "labels" / "final" / "a.nii", "a")]
    named = [record.message for record in caplog.records]
    assert len(named) == 3 and "a.nrrd is left out" in named[0] and "a.nii.gz is left out" in named[1]
    assert "patient is left out: a folder without DICOM files" in named[2]


@pytest.mark.parametrize("labels", [None, "labels"])
def test_missing_folder_is_an_error(tmp_path: Path, labels: str | None) -> None:
    images = tmp_path if labels else tmp_path / "none"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_cases(images, labels and tmp_path / labels)


def test_a_file_beside_a_label_says_what_it_covers(
    tmp_path: Path, nifti: Write, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        for folder in ("", "labels/final/"):
            nifti(np.zeros((2, 2, 2), np.uint8), name=f"{folder}{name}.nii.gz")
    (tmp_path / "labels" / "final" / "b.covered.json").write_text('{"covered": ["larynx"]}')
    assert [case.covered for case in find_cases(tmp_path)] == [None, ("larynx",)]
    assert "covered" not in caplog.text, "the file is expected there"
    assert len(require_complete_labels(find_cases(tmp_path)[:1])) == 1
    with pytest.raises(ValueError, match="label of 'b' covers larynx only"):
        require_complete_labels(find_cases(tmp_path))
    (tmp_path / "labels" / "final" / "a.covered.json").write_text("larynx")
    assert [case.label is None for case in find_cases(tmp_path)] == [True, False]
    assert "a: its label is not used: COVERED 'a.covered.json' does not say" in caplog.text
