"""Voxels of labels: whole numbers of any type are accepted, fractions and unknown values are refused by their place."""

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.labels.values import IGNORE, check_values, count_values, first_voxel, whole_numbers

VALUES = {"tube": 1, "cavity": 2}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_accepted(dtype: type) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = whole_numbers(voxels)
    assert found.dtype.kind in "iu" and np.array_equal(found, voxels)


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "2.5"), (4.99999999, "4.99999999"), (np.nan, "nan"), (np.inf, "inf"), (1e9, "1e\\+09")]
)
def test_fractions_are_refused_with_number_and_place(value: float, text: str) -> None:
    voxels = np.zeros((4, 5, 6))
    voxels[2, 3, 4] = voxels[3, 0, 0] = value
    with pytest.raises(InputRejected, match=rf"2 of 120 voxels .* {text} at voxel \(2, 3, 4\)") as caught:
        whole_numbers(voxels)
    assert caught.value.findings[0].code == "LABEL_VALUES" and "nearest" in caught.value.findings[0].remedy


def test_values_are_counted() -> None:
    voxels = np.zeros((3, 4), np.int32)
    voxels[0], voxels[1, :2] = -1, 500
    assert count_values(voxels) == {-1: 4, 0: 6, 500: 2}
    assert count_values(np.full((2, 2, 2), 255, np.uint8)) == {255: 8}


def test_known_values_are_accepted() -> None:
    voxels = np.array([[0, 1], [2, IGNORE]])
    check_values(voxels, count_values(voxels), VALUES)
    check_values(voxels + 5, count_values(np.array([[5, 6], [7, 255]])), None)


@pytest.mark.parametrize(("value", "values"), [(7, VALUES), (-1, VALUES), (-1, None), (256, None)])
def test_unknown_values_are_refused_with_the_known_ones(value: int, values: dict[str, int] | None) -> None:
    voxels = np.zeros((3, 4), np.int32)
    voxels[1, 2] = value
    with pytest.raises(InputRejected, match=rf"value {value} \(1 voxels\).* at voxel \(1, 2\)") as caught:
        check_values(voxels, count_values(voxels), values)
    remedy = caught.value.findings[0].remedy
    assert "255 ignore" in remedy and ("1 tube, 2 cavity" in remedy) == (values is not None)


def test_the_first_voxel_is_found() -> None:
    mask = np.zeros((2, 3), bool)
    mask[1, 2] = mask[1, 1] = True
    assert first_voxel(mask) == (1, 1)


def test_whole_numbers_that_no_label_has_are_refused() -> None:
    with pytest.raises(InputRejected, match="1 of 4 voxels"):
        whole_numbers(np.array([[0, 1], [2**40, 0]]))
