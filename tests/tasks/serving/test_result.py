"""Result files: their kind, their place, and where the classes lie in them."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lib.tasks.serving.result import RequestError, centroids, first, result_dtype, result_suffix, write_result


@pytest.mark.parametrize(
    ("request_", "suffix"),
    [
        ({"result_extension": "nii.gz"}, ".nii.gz"),
        ({"result_extension": [".nrrd", ".nii"]}, ".nrrd"),
        ({}, ".nii.gz"),
        ({"image": "a.dcm"}, ".nrrd"),
    ],
)
def test_suffix(request_: dict, suffix: str) -> None:
    assert result_suffix({"image": "/a/B.NII.GZ", **request_}) == suffix


def test_refuses_what_is_not_offered() -> None:
    with pytest.raises(RequestError, match=r"\.nrrd, \.nii\.gz, \.nii, not"):
        result_suffix({"image": "a.nii", "result_extension": ".exe"})
    with pytest.raises(RequestError, match="uint8"):
        result_dtype({"result_dtype": "float32"})


def test_a_result_file_is_plain_nrrd_on_the_grid() -> None:
    label = np.zeros((4, 5, 6), np.uint8)
    label[1, 2, 3] = 7
    path = write_result(label, np.diag([2.0, 3.0, 4.0, 1.0]), ".nrrd", "uint16")
    try:
        assert b"encoding: raw" in Path(path).read_bytes()[:1000]
        image = sitk.ReadImage(path)
        assert image.GetSize() == (4, 5, 6) and image.GetSpacing() == (2, 3, 4) and image[1, 2, 3] == 7
        assert image.GetPixelID() == sitk.sitkUInt16
    finally:
        Path(path).unlink()


def test_centroid_lies_in_its_class() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[1:8, 1] = label[1, 1:8] = label[7, 1:8] = 3  # a C: its centre of mass is not in it
    found = centroids(label, {"a": 1, "c": 3})
    assert list(found) == ["c"] and label[tuple(int(i) for i in found["c"])] == 3


@pytest.mark.parametrize(("value", "expected"), [([1, 2], 1), ("ab", "ab"), ([], []), (None, None)])
def test_first(value: object, expected: object) -> None:
    assert first(value) == expected


def test_a_part_of_a_volume_knows_its_place() -> None:
    label = np.zeros((5, 5, 9), np.uint8)
    label[2, 3, 6] = 1
    assert centroids(label[..., 5:8], {"a": 1}, 5) == centroids(label, {"a": 1}) == {"a": ["2", "3", "6"]}
    assert centroids(label[:, :, 6], {"a": 1}, 5) == {"a": ["2", "3"]}
