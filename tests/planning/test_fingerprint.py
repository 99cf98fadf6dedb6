"""Sizes, intensities and forms of labels are measured; files that cannot be read are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.cases import Case
from lib.planning.collect import collect
from lib.planning.fingerprint import Fingerprint, measure
from tests.cases import real_data
from tests.planning.conftest import SHAPE, make_case, write

SOURCES = {"ball": 1, "tube": 2}


def measured(folders: tuple[Path, Path]) -> Fingerprint:
    return measure(collect(*folders).cases, SOURCES)


def test_images_and_labels_are_measured(folders: tuple[Path, Path]) -> None:
    found = measured(folders)
    assert (found.images, found.labelled, found.channels) == (6, 5, 1)
    assert found.shape == SHAPE and found.spacing_mm == (1.0, 1.0, 1.2) and not found.is_flat
    assert not found.looks_like_ct and found.spread > 4 and found.refused == {}
    ball, tube = found.labels
    assert (ball.is_tubular, tube.is_tubular) == (False, True) and ball.is_one_piece and tube.is_one_piece
    assert ball.volume_ml == pytest.approx((make_case(0)[1] == 1).sum() * 1.2e-3)
    assert tube.extent == (3, SHAPE[1] - 2, 3) and tube.cases == 5
    assert 130 < found.low / 3 < found.high / 3 < 240, "intensities inside the labels, median over the scales 1 to 5"


def test_damaged_images_and_labels_are_named(folders: tuple[Path, Path]) -> None:
    (folders[0] / "p0.nii.gz").write_bytes(b"damaged")
    write(folders[1] / "p1.nii.gz", np.full(SHAPE, 9, np.uint8))
    found = measured(folders)
    assert found.labelled == 3 and "NOT_AN_IMAGE" in found.refused["p0"] and "LABEL_VALUES" in found.refused["p1"]
    for path in folders[0].iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="none of 5 images can be read; 'p0': NOT_AN_IMAGE"):
        measured(folders)


def test_colour_pictures_are_flat_with_three_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = measure([Case("a", tmp_path / "a.png", None, "a")], SOURCES)
    assert found.is_flat and found.channels == 3 and found.shape == (50, 40, 1)


def test_a_real_ct_looks_like_one() -> None:
    path = real_data("lung-pet-ct-dx")
    found = measure([Case("ct", path, None, "p")], SOURCES)
    assert found.looks_like_ct and found.dicom == ("CT",)


def test_images_of_several_kinds_are_refused(folders: tuple[Path, Path]) -> None:
    Image.fromarray(np.zeros((20, 30), np.uint8) + np.arange(30, dtype=np.uint8)).save(folders[0] / "xray.png")
    with pytest.raises(ValueError, match=r"several kinds: 3-D grey \(6, .*'p0'\); 2-D grey \(1, for example 'xray'\)"):
        measure(collect(folders[0]).cases, SOURCES)
