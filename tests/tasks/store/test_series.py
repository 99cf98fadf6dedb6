"""A series becomes one file with its voxels and its grid, or is refused with the reason."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.formats import load
from lib.tasks.store.series import series_file
from tests.data.conftest import make_head, write_slice


def write_series(folder: Path, count: int = 5, lean_mm: float = 0.0) -> Path:
    """Write a series of axial CT slices, 2 mm apart, each shifted by `lean_mm` against the one below."""
    folder.mkdir(parents=True)
    voxels = make_head((12, 10, count))
    for k in range(count):
        geometry = {"ImagePositionPatient": [0, lean_mm * k, 2 * k], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        write_slice(folder / f"{k:03d}.dcm", voxels[:, :, k], **geometry, PixelSpacing=[2, 2], InstanceNumber=k + 1)
    return folder


def test_the_file_has_the_voxels_and_the_grid_of_the_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct 1.v2")
    file, series = series_file(folder, tmp_path / "cache"), load(folder)
    converted = load(file)
    assert file.name == "ct 1.v2.nii.gz"
    assert np.array_equal(converted.voxels, series.voxels) and np.allclose(converted.affine, series.affine, atol=1e-4)


def test_the_file_is_written_again_only_if_the_series_changes(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    first = series_file(folder, tmp_path / "cache")
    written = first.stat().st_mtime_ns
    assert series_file(folder, tmp_path / "cache") == first and first.stat().st_mtime_ns == written
    (folder / "004.dcm").unlink()
    second = series_file(folder, tmp_path / "cache")
    assert load(second).voxels.shape == (12, 10, 4) and not first.exists()


def test_a_tilted_series_keeps_the_positions_of_its_slices(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct", lean_mm=0.8)
    file, series = series_file(folder, tmp_path / "cache"), load(folder)
    converted = load(file)
    assert file.name == "ct.nrrd" and series_file(folder, tmp_path / "cache") == file
    assert series.origins is not None and converted.origins is not None and "tilted" in converted.notes[0]
    np.testing.assert_array_equal(converted.voxels, series.voxels)
    np.testing.assert_allclose(converted.origins, series.origins, atol=1e-5)
    np.testing.assert_allclose(converted.affine, series.affine, atol=1e-6)


def test_a_series_with_a_missing_slice_is_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "ct")
    (folder / "002.dcm").unlink()
    with pytest.raises(InputRejected, match="MISSING_SLICES"):
        series_file(folder, tmp_path / "cache")
