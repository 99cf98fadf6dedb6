"""Convert the Open Kidney Ultrasound Dataset: PNG images, and outlines in a table of the VGG Image Annotator."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lib.data.volumes.save import write_volume

CLASSES = ("Capsule", "Central Echo Complex", "Medulla", "Cortex")
"""Classes in drawing order: structures inside the capsule are drawn over it."""
TABLES = "reviewed_labels_*.csv"


def convert(source: Path, out: Path) -> None:
    """Write each image with outlines as a case of one slice, with label values 1 to 4 in the order of `CLASSES`.

    Args:
        source: Folder with ``images/*.png`` and ``labels/reviewed_labels_1.csv``. Only the table of the first reviewer
            is used.
        out: Output folder.
    Raises:
        FileNotFoundError: If the table, or an image that it names, does not exist.
        ValueError: If the table does not have the format of the VGG Image Annotator.
    Source:
        Singla et al. 2023, arXiv:2206.06657. The licence forbids commercial use, so the data are not included.
    """
    tables = sorted((source / "labels").glob(TABLES))
    if not tables:
        raise FileNotFoundError(f"there is no labels/{TABLES} in {source}")
    outlines: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    with tables[0].open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            try:
                shape, attributes = json.loads(row["region_shape_attributes"]), json.loads(row["region_attributes"])
                outlines.setdefault(row["filename"], []).append((str(attributes.get("Anatomy", "")), shape))
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"{tables[0].name} is not a table of the VGG Image Annotator: {error}") from None
    (out / "labels" / "final").mkdir(parents=True, exist_ok=True)
    for name, regions in sorted(outlines.items()):
        path = source / "images" / name
        if not path.is_file():
            raise FileNotFoundError(f"{tables[0].name} names images/{name}, which does not exist")
        if not any(shape for _, shape in regions):
            continue
        grey = np.asarray(Image.open(path).convert("L"))
        label = draw_outlines(regions, (grey.shape[0], grey.shape[1]))
        # RAS order: the first axis points to the right, the second upwards. The pixel size is unknown, so it is 1 mm.
        for array, where in ((grey.astype(np.int16), out), (label, out / "labels" / "final")):
            write_volume(array.T[:, ::-1, None], np.eye(4), where / f"{Path(name).stem}.nii.gz")


def draw_outlines(regions: list[tuple[str, dict[str, Any]]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the label of an image, ``(H, W)``.

    Args:
        regions: Class name and shape of each outline. Shapes other than polygons, and unknown names, are skipped.
        size: Size of the image, ``(H, W)``.
    """
    canvas = Image.new("L", (size[1], size[0]))
    pen = ImageDraw.Draw(canvas)
    for value, wanted in enumerate(CLASSES, start=1):
        for name, shape in regions:
            if name == wanted and shape.get("name") in ("polygon", "polyline"):
                pen.polygon(list(zip(shape["all_points_x"], shape["all_points_y"], strict=True)), fill=value)
    return np.asarray(canvas, np.uint8)
