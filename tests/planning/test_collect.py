"""Data sets in their usual layouts are found with labels, names and what they say about their images."""

import json
import shutil
from pathlib import Path

import pytest

from lib.planning.collect import collect
from tests.cases import real_data
from tests.planning.conftest import make_case, write


def make_nnunet(folder: Path, channels: dict[str, str], count: int = 2) -> Path:
    for seed in range(count):
        image, label = make_case(seed)
        for number in range(len(channels)):
            write(folder / "imagesTr" / f"a_{seed}_{number:04d}.nii.gz", image)
        write(folder / "labelsTr" / f"a_{seed}.nii.gz", label)
    facts = {"channel_names": channels, "labels": {"background": 0, "ball": 1, "tube": 2, "ignore": 3}}
    (folder / "dataset.json").write_text(json.dumps(facts | {"file_ending": ".nii.gz"}))
    return folder


def test_loose_files_are_matched_by_name(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "unknown.nii.gz", make_case(9)[1])
    found = collect(*folders)
    assert [case.id for case in found.cases] == [f"p{seed}" for seed in range(6)]
    assert [case.label is None for case in found.cases] == [False] * 5 + [True]
    assert found.notes == ("1 labels have no image, for example 'unknown'.",)


def test_nnunet(tmp_path: Path) -> None:
    found = collect(make_nnunet(tmp_path, {"0": "MRI"}))
    assert (found.layout, found.modality, found.labels) == ("nnU-Net", "MRI", {"ball": 1, "tube": 2})
    assert [case.id for case in found.cases] == ["a_0", "a_1"] and all(case.label for case in found.cases)


def test_the_images_folder_of_a_data_set_knows_its_names(tmp_path: Path) -> None:
    make_nnunet(tmp_path, {"0": "MRI"})
    found = collect(tmp_path / "imagesTr", tmp_path / "labelsTr")
    assert found.labels == {"ball": 1, "tube": 2} and all(case.label for case in found.cases)


def test_a_data_set_without_its_description_is_found(tmp_path: Path) -> None:
    make_nnunet(tmp_path, {"0": "MRI"})
    (tmp_path / "dataset.json").unlink()
    (tmp_path / "labelsTr" / "a_1.nii.gz").unlink()
    for path in (tmp_path / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace("_0000", "")))
    found = collect(tmp_path)
    assert [(case.id, case.label is not None) for case in found.cases] == [("a_0", True), ("a_1", False)]
    assert found.labels == {}


def test_channels_of_nnunet_are_found_beside_the_first(tmp_path: Path) -> None:
    make_nnunet(tmp_path, {"0": "T1", "1": "T2"})
    (tmp_path / "imagesTr" / "a_1_0001.nii.gz").unlink()
    for found in (collect(tmp_path), collect(tmp_path / "imagesTr", tmp_path / "labelsTr")):
        assert [(case.id, case.image.name) for case in found.cases] == [
            ("a_0", "a_0_0000.nii.gz"),
            ("a_1", "a_1_0000.nii.gz"),
        ]
        assert all(case.label for case in found.cases) and found.modality == "T1"
        assert {name: list(files) for name, files in found.channels.items()} == {"t2": ["a_0"]}


def test_regions_are_refused(tmp_path: Path) -> None:
    make_nnunet(tmp_path, {"0": "T1"})
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1"}, "labels": {"whole": [1, 2]}}))
    with pytest.raises(ValueError, match="region of several values"):
        collect(tmp_path)


def test_decathlon(tmp_path: Path) -> None:
    image, label = make_case(0)
    write(tmp_path / "imagesTr" / "b_0.nii.gz", image)
    write(tmp_path / "labelsTr" / "b_0.nii.gz", label)
    facts = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "ball", "2": "tube"},
        "training": [{"image": "./imagesTr/b_0.nii.gz", "label": "./labelsTr/b_0.nii.gz"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    found = collect(tmp_path)
    assert (found.layout, found.modality, found.labels) == ("Decathlon", "CT", {"ball": 1, "tube": 2})
    assert found.cases[0].label is not None


def test_bids(tmp_path: Path) -> None:
    for subject in ("01", "02"):
        image, label = make_case(int(subject))
        anat = tmp_path / f"sub-{subject}" / "ses-1" / "anat"
        write(anat / f"sub-{subject}_ses-1_T1w.nii.gz", image)
        if subject == "01":
            write(anat / f"sub-{subject}_ses-1_T2w.nii.gz", image)
            place = tmp_path / "derivatives" / "manual" / "sub-01" / "ses-1" / "anat"
            write(place / "sub-01_ses-1_desc-x_dseg.nii.gz", label)
            (place / "desc-x_dseg.tsv").write_text("index\tname\n0\tbackground\n1\tball\n2\ttube\n")
    found = collect(tmp_path)
    assert (found.layout, found.modality, found.labels) == ("BIDS", "T1w", {"ball": 1, "tube": 2})
    assert [(case.id, case.patient) for case in found.cases] == [
        ("sub-01_ses-1_T1w", "sub-01"),
        ("sub-02_ses-1_T1w", "sub-02"),
    ]
    assert found.cases[0].label is not None and found.cases[1].label is None
    assert found.notes == ("1 images of the kind 'T2w' are left out.",)


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": {"a": "b"}}'])
def test_a_damaged_description_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset\.json"):
        collect(tmp_path)


def test_folders_without_images_are_refused(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no image"):
        collect(tmp_path / "empty")
    with pytest.raises(ValueError, match="there is no folder"):
        collect(tmp_path / "absent")
    (folders[0] / "p0.nii.gz").rename(folders[0] / "other.nii.gz")
    for seed in range(1, 5):
        (folders[1] / f"p{seed}.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"no label in .* has the name of an image"):
        collect(*folders)


def test_labels_may_have_one_ending_more_than_their_images(folders: tuple[Path, Path]) -> None:
    for path in list(folders[1].iterdir()):
        path.rename(folders[1] / path.name.replace(".nii.gz", "_1st-reader.nii.gz"))
    found = collect(*folders)
    assert [case.label is None for case in found.cases] == [False] * 5 + [True]
    assert found.notes == ("The names of the labels are those of the images with '_1st-reader'.",)
    (folders[1] / "p3_1st-reader.nii.gz").rename(folders[1] / "p3_2nd-reader.nii.gz")
    with pytest.raises(ValueError, match="no label in"):
        collect(*folders)


def test_a_bids_image_with_two_segmentations_has_no_label(tmp_path: Path) -> None:
    image, label = make_case(0)
    write(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz", image)
    write(tmp_path / "derivatives" / "sub-01" / "sub-01_label-skull_mask.nii.gz", label)
    write(tmp_path / "derivatives" / "sub-01" / "sub-01_desc-a_dseg.nii.gz", label)
    found = collect(tmp_path)
    assert found.cases[0].label is not None and "dseg" in found.cases[0].label.name, "masks are no dseg"
    write(tmp_path / "derivatives" / "sub-01" / "sub-01_desc-b_dseg.nii.gz", label)
    found = collect(tmp_path)
    assert found.cases[0].label is None and "one of 2 labels" in found.notes[0]


def test_the_folder_of_one_series_is_refused(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for path in sorted(real_data("gantry-tilt").glob("*.dcm"))[:3]:
        shutil.copy(path, series / path.name)
    with pytest.raises(ValueError, match="is one DICOM series"):
        collect(series)
    assert [case.id for case in collect(tmp_path).cases] == ["series"]
