"""Convert a miniature of the Open Kidney folder; inner outlines are drawn over outer ones."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from lib.data.cases import find_cases
from lib.data.datasets.kidneyus import CLASSES, convert

COLUMNS = ["filename", "region_shape_attributes", "region_attributes"]


def box(name: str, low: int, high: int) -> list[str]:
    shape = {"name": "polygon", "all_points_x": [low, high, high, low], "all_points_y": [5, 5, 15, 15]}
    return [json.dumps(shape), json.dumps({"Anatomy": name})]


def table(folder: Path, rows: list[list[str]]) -> None:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    with (folder / "labels" / "reviewed_labels_1.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "kidneyUS"
    outlined = [["1_a.png", *box("Cortex", 20, 30)], ["1_a.png", *box("Capsule", 10, 40)]]
    table(folder, [*outlined, ["2_b.png", "{}", "{}"], ["3_c.png", *box("Medulla", 1, 9)]])
    for name in ("1_a", "2_b", "3_c"):
        grey = np.zeros((30, 50, 3), np.uint8)
        grey[5:16, 10:41] = 200
        Image.fromarray(grey).save(folder / "images" / f"{name}.png")
    return folder


def test_images_with_outlines_become_cases_of_one_slice(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    cases = find_cases(tmp_path / "out")
    assert [case.id for case in cases] == ["1_a", "3_c"], "an image without an outline is left out"
    image, label = (np.asarray(nib.load(path).dataobj) for path in (cases[0].image, cases[0].label))
    assert image.shape == label.shape == (50, 30, 1) and image.dtype == np.int16
    upright = label[:, ::-1, 0].T
    capsule, cortex = CLASSES.index("Capsule") + 1, CLASSES.index("Cortex") + 1
    assert upright[10, 15] == capsule and upright[10, 25] == cortex and upright[20, 25] == 0
    assert (image[label > 0] == 200).all(), "image and label are flipped in the same way"


def test_missing_file_is_named(source: Path, tmp_path: Path) -> None:
    (source / "images" / "3_c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"3_c\.png"):
        convert(source, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="reviewed_labels"):
        convert(tmp_path, tmp_path / "out")


def test_table_in_another_format_is_refused(source: Path, tmp_path: Path) -> None:
    table(source, [["1_a.png", "no json", "{}"]])
    with pytest.raises(ValueError, match="is not a table of the VGG Image Annotator"):
        convert(source, tmp_path / "out")
