"""Convert a miniature of the CHAOS folder, with DICOM slices and a PNG for each."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from lib.data.cases import find_cases
from lib.data.datasets.chaos import convert, organ_values


@pytest.fixture
def source(tmp_path: Path, dicom_series: Callable[..., Path]) -> tuple[Path, np.ndarray]:
    """A series of five slices whose brightest block is the liver, with file names in reverse order."""
    voxels = np.full((12, 10, 5), -1024, np.int16)
    voxels[2:7, 3:8, 1:4] = 1000
    voxels[2, 3, 1] = 976
    folder = tmp_path / "Train_Sets" / "MR" / "7" / "T2SPIR"
    folder.mkdir(parents=True)
    dicom_series(voxels, Modality="MR", RescaleSlope=1, RescaleIntercept=0).rename(folder / "DICOM_anon")
    (folder / "Ground").mkdir()
    for k in range(5):
        grey = np.zeros((10, 12), np.uint8)
        grey[3:8, 2:7] = 63 if 1 <= k < 4 else 0
        if k == 2:
            grey[0, 0] = 252
        Image.fromarray(grey).save(folder / "Ground" / f"{5 - k:03d}.png")
    return tmp_path, voxels


def test_series_become_cases_on_their_own_grid(source: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    convert(source[0], tmp_path / "out")
    (case,) = find_cases(tmp_path / "out")
    assert case.id == "mr_7" and case.label is not None
    image, label = (nib.load(path) for path in (case.image, case.label))
    grey, marks = np.asarray(image.dataobj), np.asarray(label.dataobj)
    np.testing.assert_allclose(image.affine, label.affine)
    assert grey.max() == 1000 and grey.dtype == np.int16
    assert np.array_equal(marks == 1, grey > 500), "each PNG is placed on the slice with the same name"
    assert (marks == 4).sum() == 1 and np.argwhere(marks == 4)[0, 2] == 2


def test_grey_values_of_organs() -> None:
    assert organ_values(np.array([[0, 54, 55, 70, 71, 126, 189, 252]], np.uint8)).tolist() == [[0, 0, 1, 1, 0, 2, 3, 4]]


def test_missing_file_is_named(source: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    next(source[0].glob("**/Ground/003.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"003\.dcm has no PNG"):
        convert(source[0], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="T2SPIR"):
        convert(tmp_path / "out", tmp_path / "more")
