"""The picture is written in radiological orientation and shows the slices with labels."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from lib.evaluation.overlay import AXIAL, CORONAL, SAGITTAL, Plane, Spot, _rows, _Scene, _spread, _view, write_overlay

LABELS = {"pharynx": 1, "larynx": 2}
SPACING = (1.0, 1.0, 2.0)


def _case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hu = np.full((40, 48, 20), -1000, np.int16)
    hu[5:35, 5:43] = 40
    prediction = np.zeros(hu.shape, np.uint8)
    prediction[15:25, 20:30, 4:10] = 1
    prediction[15:25, 20:30, 10:16] = 2
    reference = np.roll(prediction, 1, axis=0)
    reference[20:24, 24:28, 14:16] = 255
    return hu, prediction, reference


@pytest.mark.parametrize("with_reference", [True, False])
def test_writes_a_picture_with_both_colours(tmp_path: Path, with_reference: bool) -> None:
    hu, prediction, reference = _case()
    path = tmp_path / "case.png"
    truth = reference if with_reference else None
    assert write_overlay(path, hu, prediction, truth, SPACING, labels=LABELS, title="Case 7") == path
    picture = imread(path)[..., :3]
    assert picture.shape[1] == 1950
    blue = (picture[..., 2] > 0.6) & (picture[..., 0] < 0.45)
    orange = (picture[..., 0] > 0.6) & (picture[..., 2] < 0.3)
    assert blue.mean() > 0.01 and orange.mean() > 0.01


def test_an_empty_case_still_has_a_picture(tmp_path: Path) -> None:
    hu, prediction, _ = _case()
    empty = np.zeros_like(prediction)
    assert write_overlay(tmp_path / "e.png", hu, empty, None, SPACING, labels=LABELS, title="Empty").stat().st_size > 0


@pytest.mark.parametrize(
    ("plane", "index", "voxel", "row", "column"),
    [
        # Rows count from the bottom. The patient's right is the end of X, anterior of Y, superior of Z.
        (AXIAL, 2, (39, 47, 2), 47, 0),
        (AXIAL, 2, (0, 47, 2), 47, 39),
        (CORONAL, 3, (39, 3, 19), 19, 0),
        (SAGITTAL, 4, (4, 47, 19), 19, 0),
        (SAGITTAL, 4, (4, 0, 0), 0, 47),
    ],
)
def test_orientation(plane: Plane, index: int, voxel: tuple[int, int, int], row: int, column: int) -> None:
    volume = np.zeros((40, 48, 20), np.uint8)
    volume[voxel] = 1
    whole = tuple(slice(0, size) for size in volume.shape)
    scene = _Scene(volume, volume, None, SPACING, LABELS, (-1000, 500), volume > 0, whole)
    assert np.argwhere(scene.cut(volume, plane, index)).tolist() == [[row, column]]
    _, width_mm, _, height_mm = scene.extent_mm(plane)
    assert (width_mm, height_mm) == {"axial": (40, 48), "coronal": (40, 40), "sagittal": (48, 40)}[plane.name]


def test_a_spot_gets_a_ring_at_its_place_and_its_slice_comes_first(tmp_path: Path) -> None:
    hu, prediction, _ = _case()
    whole = tuple(slice(0, size) for size in hu.shape)
    spots = [Spot((20.2, 25.0, 12.4), "1 BREAK"), Spot((3.0, 4.0, 99.0), "2 FAR")]
    scene = _Scene(hu, prediction, None, SPACING, LABELS, (-1000, 500), prediction > 0, whole, spots)
    assert _rows(scene)[0] == (AXIAL, [12]) and _rows(scene)[1][0] == AXIAL
    assert scene.spots_mm(AXIAL, 12) == [(pytest.approx(19.3), 25.5, "1 BREAK")]
    assert scene.spots_mm(SAGITTAL, 20) == [(22.5, pytest.approx(25.8), "1 BREAK")]
    assert scene.spots_mm(AXIAL, 13) == []
    plain, ringed = (
        imread(
            write_overlay(tmp_path / f"{n}.png", hu, prediction, None, SPACING, labels=LABELS, title="", spots=marks)
        )
        for n, marks in enumerate(([], spots))
    )
    assert ringed.shape[0] > plain.shape[0]


def test_slices_represent_equal_shares_of_the_content() -> None:
    content = np.zeros((5, 5, 30), bool)
    content[2, 2, 10:20] = True
    assert _spread(content, 2, 5) == [10, 12, 14, 16, 18]
    assert _spread(content, 2, 50) == list(range(10, 20))


def test_view_has_a_margin_in_mm() -> None:
    content = np.zeros((60, 60, 60), bool)
    content[30, 30, 30] = True
    assert _view(content, (1.0, 2.0, 9.0)) == (slice(12, 49), slice(21, 40), slice(28, 33))


def test_arrays_on_different_grids_are_refused(tmp_path: Path) -> None:
    hu, prediction, reference = _case()
    with pytest.raises(ValueError, match="one grid"):
        write_overlay(tmp_path / "x.png", hu, prediction, reference[1:], SPACING, labels=LABELS, title="")
