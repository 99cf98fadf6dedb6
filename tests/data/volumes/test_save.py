"""Volumes are written on the given grid, in the format of the suffix."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.formats import load
from lib.data.volumes.save import write_volume


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("seed", range(3))
def test_round_trip_keeps_voxels_and_affine(
    tmp_path: Path, random_affine: Callable[..., np.ndarray], name: str, seed: int
) -> None:
    label = np.random.default_rng(seed).integers(0, 6, (5, 6, 7), dtype=np.uint8)
    affine = random_affine(seed)
    volume = load(write_volume(label, affine, tmp_path / "sub" / name))
    np.testing.assert_array_equal(volume.voxels, label)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == [name]


def test_nrrd_is_uncompressed_lps_uint8(tmp_path: Path) -> None:
    path = write_volume(np.ones((4, 5, 6), np.uint8), np.diag([1, 1, 2, 1]), tmp_path / "a.nrrd")
    head = path.read_bytes()[:400]
    assert b"encoding: raw" in head and b"left-posterior-superior" in head and b"unsigned char" in head
    assert sitk.ReadImage(str(path)).GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_2d_array_is_written_as_2d(tmp_path: Path) -> None:
    plane = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert nib.load(write_volume(plane, np.eye(4), tmp_path / "a.nii.gz")).shape == (4, 5)
    np.testing.assert_array_equal(load(write_volume(plane, np.eye(4), tmp_path / "a.nrrd")).voxels, plane)


def test_same_label_gives_same_bytes(tmp_path: Path) -> None:
    label = np.random.default_rng(0).integers(0, 3, (8, 8, 8), dtype=np.uint8)
    first, second = (write_volume(label, np.eye(4), tmp_path / f"{n}.nii.gz") for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.nii\.gz"):
        write_volume(np.ones((2, 2, 2), np.uint8), np.eye(4), tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_a_slice_is_written_as_a_grey_picture(tmp_path: Path, name: str, dtype: type, shape: tuple[int, ...]) -> None:
    plane = np.arange(20, dtype=dtype).reshape(shape)
    found = load(write_volume(plane, np.eye(4), tmp_path / name))
    np.testing.assert_array_equal(found.voxels, plane.reshape(4, 5))
    assert found.stored_bytes == np.dtype(dtype).itemsize


@pytest.mark.parametrize("array", [np.ones((4, 5, 2), np.uint8), np.ones((4, 5), np.int16)])
def test_a_picture_holds_one_slice_of_whole_numbers(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture holds one slice"):
        write_volume(array, np.eye(4), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
