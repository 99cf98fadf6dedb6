"""Each entry of a folder is a study, or is named with a reason and a next step, or is a system file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lib.data import listing as listing_module
from lib.data.listing import WAIT, list_studies, split_suffix
from tests.data.conftest import make_head, write_slice

SUFFIXES = (".nii.gz", ".nii", ".nrrd")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")


def test_files_of_any_case_are_studies_and_system_files_are_neither(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "B.NII.GZ", "c.Nrrd", "d.nii.gz.nii", "labels/final/a.nii.gz", "model/x.nii.gz")
    touch(tmp_path, "._a.nii.gz", ".b.nii.gz", ".DS_Store", "__MACOSX/a.nii.gz", "Thumbs.db", "datastore_v2.json")
    listing = list_studies(tmp_path, SUFFIXES)
    assert {name: path.name for name, path in listing.studies.items()} == {
        "a": "a.nii.gz", "B": "B.NII.GZ", "c": "c.Nrrd", "d.nii.gz": "d.nii.gz.nii",
    }  # fmt: skip
    assert listing.left_out == ()


@pytest.mark.parametrize(("known", "study", "other"), [((), "a.nii", "a.nrrd"), (["a.nrrd"], "a.nrrd", "a.nii")])
def test_one_of_two_files_with_the_same_name_is_the_study(
    tmp_path: Path, known: list[str], study: str, other: str
) -> None:
    touch(tmp_path, "a.nii", "a.nrrd", "b.nii")
    listing = list_studies(tmp_path, SUFFIXES, known=known)
    assert {name: path.name for name, path in listing.studies.items()} == {"a": study, "b": "b.nii"}
    (entry,) = listing.left_out
    assert entry.name == other and study in entry.reason and "Rename" in entry.remedy


def test_a_folder_of_one_series_is_a_study(tmp_path: Path, dicom_series: Callable[..., Path]) -> None:
    folder = dicom_series(make_head((6, 6, 3)))
    touch(folder, "._001.dcm", "notes.txt")
    assert list_studies(tmp_path, SUFFIXES).studies == {"series": folder}
    (entry,) = list_studies(tmp_path, SUFFIXES, series=False).left_out
    assert (entry.name, entry.reason) == ("series", "a folder")


def test_other_folders_and_files_are_named(tmp_path: Path, dicom_series: Callable[..., Path]) -> None:
    mixed = dicom_series(make_head((6, 6, 3))).rename(tmp_path / "mixed")
    write_slice(mixed / "other.dcm", np.zeros((6, 6)), SeriesInstanceUID="9.9")
    shutil.copytree(mixed, tmp_path / "patient" / "study" / "series")
    shutil.copy(mixed / "001.dcm", tmp_path / "lone.dcm")
    shutil.copy(mixed / "001.dcm", tmp_path / "IM0001")
    shutil.copytree(mixed, tmp_path / "scan.nii")
    touch(tmp_path, "patient2/ct.nii.gz", "picture.png", "readme.txt")
    (tmp_path / "empty").mkdir()
    listing = list_studies(tmp_path, SUFFIXES)
    assert listing.studies == {}
    without = "a folder without DICOM files of its own"
    assert {entry.name: entry.reason for entry in listing.left_out} == {
        "mixed": "a folder with several DICOM series",
        "patient": without,
        "patient2": without,
        "empty": without,
        "scan.nii": "a folder with the suffix of a file",
        "lone.dcm": "a single DICOM file",
        "IM0001": "a single DICOM file",
        "picture.png": "no image in a format that is read here",
        "readme.txt": "no image in a format that is read here",
    }
    assert all(entry.remedy.endswith(".") for entry in listing.left_out)
    single = list_studies(tmp_path, (*SUFFIXES, ".dcm"))
    assert set(single.studies) == {"lone", "IM0001"}, "a format of the app with single DICOM files"


def test_entries_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nowhere")
    touch(tmp_path, "locked", "a.nii")

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listing_module.dicom, "is_dicom", refuse)
    listing = list_studies(tmp_path, SUFFIXES)
    assert set(listing.studies) == {"a"}
    assert [(entry.name, entry.reason) for entry in listing.left_out] == [
        ("gone.nii", "a link to a file that does not exist"),
        ("locked", "it cannot be read (Permission denied)"),
    ]


def test_a_folder_with_an_index_of_dicom_files_alone_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert list_studies(tmp_path, SUFFIXES).studies == {}


def test_a_folder_is_read_when_its_copy_is_complete(tmp_path: Path, dicom_series: Callable[..., Path]) -> None:
    folder = dicom_series(make_head((6, 6, 3)))
    (entry,) = list_studies(tmp_path, SUFFIXES, settle_s=60).left_out
    assert entry.name == "series" and entry.remedy == WAIT
    assert list_studies(tmp_path, SUFFIXES, settle_s=60, known=["series"]).studies == {"series": folder}
    before = folder.stat().st_mtime - 61
    os.utime(folder, (before, before))
    assert list_studies(tmp_path, SUFFIXES, settle_s=60).studies == {"series": folder}


def test_a_series_that_got_a_second_one_is_named_again(tmp_path: Path, dicom_series: Callable[..., Path]) -> None:
    folder = dicom_series(make_head((6, 6, 3)))
    os.utime(folder, (1, 1))
    assert set(list_studies(tmp_path, SUFFIXES).studies) == {"series"}
    write_slice(folder / "other.dcm", np.zeros((6, 6)), SeriesInstanceUID="9.9")
    assert list_studies(tmp_path, SUFFIXES).studies == {}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.NII.gz", ("a", ".NII.gz")), ("a.b.nii", ("a.b", ".nii")), ("a.txt", ("a.txt", "")), (".nii", ("", ".nii"))],
)
def test_the_longest_suffix_is_split_off(name: str, parts: tuple[str, str]) -> None:
    assert split_suffix(name, SUFFIXES) == parts
