"""Result files: suffix, data type, grid and centroids of the classes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.tasks.serving.result import RequestError, centroids, first, result_dtype, result_suffix, write_result


@pytest.mark.parametrize(
    ("request_", "suffix"),
    [
        ({"result_extension": "nii.gz"}, ".nii.gz"),
        ({"result_extension": [".nrrd", ".nii"]}, ".nrrd"),
        ({}, ".nii.gz"),
        ({"image": "a.dcm"}, ".nrrd"),
        ({"image": "a.PNG"}, ".png"),
        ({"image": "a.jpeg"}, ".png"),
        ({"image": "a.tif", "result_extension": ["nrrd", "png"]}, ".nrrd"),
        ({"result_extension": "png"}, ".png"),
    ],
)
def test_the_suffix_is_the_requested_one_or_that_of_the_image(request_: dict, suffix: str) -> None:
    assert result_suffix({"image": "/a/B.NII.GZ", **request_}) == suffix


def test_formats_that_are_not_available_are_refused() -> None:
    with pytest.raises(RequestError, match=r"\.nrrd, \.nii\.gz, \.nii, \.png, not"):
        result_suffix({"image": "a.nii", "result_extension": ".exe"})
    with pytest.raises(RequestError, match="uint8"):
        result_dtype({"result_dtype": "float32"})


def test_a_result_file_is_uncompressed_nrrd_on_the_grid() -> None:
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


def test_a_centroid_lies_in_its_class() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[1:8, 1] = label[1, 1:8] = label[7, 1:8] = 3  # the shape of a C, whose centre of mass lies outside of it
    found = centroids(label, {"a": 1, "c": 3})
    assert list(found) == ["c"] and label[tuple(int(i) for i in found["c"])] == 3


@pytest.mark.parametrize(("value", "expected"), [([1, 2], 1), ("ab", "ab"), ([], []), (None, None)])
def test_the_first_item_of_a_list_is_returned(value: object, expected: object) -> None:
    assert first(value) == expected


def test_centroids_of_a_part_are_indices_in_the_volume() -> None:
    label = np.zeros((5, 5, 9), np.uint8)
    label[2, 3, 6] = 1
    assert centroids(label[..., 5:8], {"a": 1}, 5) == centroids(label, {"a": 1}) == {"a": ["2", "3", "6"]}
    assert centroids(label[:, :, 6], {"a": 1}, 5) == {"a": ["2", "3"]}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_result_picture_has_the_pixels_of_the_label(dtype: str) -> None:
    label = np.arange(20, dtype=np.uint8).reshape(4, 5)
    path = write_result(label, np.diag([-1.0, -1.0, 1.0, 1.0]), ".png", dtype)
    try:
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), label.T) and picture.mode == {"uint8": "L"}.get(dtype, "I;16")
    finally:
        Path(path).unlink()


def test_a_picture_of_a_volume_is_refused() -> None:
    with pytest.raises(RequestError, match="3 slices"):
        write_result(np.zeros((4, 5, 3), np.uint8), np.eye(4), ".png", "uint8")
    with pytest.raises(RequestError, match="int16"):
        write_result(np.zeros((4, 5), np.uint8), np.eye(4), ".png", "int16")
