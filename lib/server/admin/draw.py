"""Draw a label over its image; `lib.server.admin.overlays` runs this module as a process."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.data.files.atomic import replacing
from lib.data.formats import load
from lib.data.modality import CT
from lib.data.scintigraphy.pairs import Pair, read_pair
from lib.data.scintigraphy.picture import side_by_side
from lib.data.volumes.colour import with_channels
from lib.data.volumes.geometry import turn_to_ras
from lib.evaluation.overlay import Spot, write_overlay

SMALL_PIXELS = 720
SMALL_COLOURS = 128
NICENESS = 5
"""Niceness of the process: like jobs, it runs at a lower priority than the threads that answer requests."""


def draw(
    image: Path,
    label: Path,
    target: Path,
    *,
    labels: Mapping[str, int],
    title: str,
    spots: Sequence[Mapping[str, Any]] = (),
    modality: str = CT,
) -> None:
    """Write ``<target>.png`` and the preview ``<target>-small.png``.

    Args:
        image: Path of the image.
        label: Path of the label, on the same grid.
        target: Path of the pictures, without suffix.
        labels: Label value by class name; empty if the two files are a rapid and a standard bone scan.
        title: Title of the picture.
        spots: Positions to mark with a ring, as ``{"ras_mm": [x, y, z], "text": ...}``; coordinates in mm.
        modality: What the image is; see `lib.evaluation.overlay.write_overlay`.
    Raises:
        ValueError: If a file cannot be read, or image and label have different grids.
    """
    if not labels:
        return _draw_pair(image, label, target, title)
    scan, mask = load(image), load(label)
    if scan.voxels.shape != mask.voxels.shape:
        raise ValueError(
            f"the label has the grid {mask.voxels.shape}, its image has {scan.voxels.shape}: both must be equal"
        )
    intensities, affine = turn_to_ras(with_channels(scan, 1).voxels, scan.affine)
    values, _ = turn_to_ras(np.rint(mask.voxels).astype(np.uint8), scan.affine)
    spacing_mm = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    places = [(np.linalg.inv(affine) @ (*spot["ras_mm"], 1.0))[:3].tolist() for spot in spots]
    rings = [Spot(place, spot["text"]) for place, spot in zip(places, spots, strict=True)]
    full, small = (target.with_name(f"{target.name}{end}.png") for end in ("", "-small"))
    with replacing(small) as preview, replacing(full) as file:
        write_overlay(
            file,
            intensities,
            values,
            None,
            spacing_mm,
            labels=labels,
            title=title,
            modality=modality,
            spots=rings,
        )
        with Image.open(file) as picture:
            picture.thumbnail((SMALL_PIXELS, 8 * SMALL_PIXELS))
            picture.convert("RGB").quantize(SMALL_COLOURS).save(preview, optimize=True)


def _draw_pair(image: Path, label: Path, target: Path, title: str) -> None:
    rapid, standard, fraction = read_pair(Pair(title, image, label))
    full, small = (target.with_name(f"{target.name}{end}.png") for end in ("", "-small"))
    with replacing(small) as preview, replacing(full) as file:
        picture = side_by_side([rapid.counts / fraction, standard.counts])
        picture.save(file, format="PNG")
        picture.thumbnail((SMALL_PIXELS, 8 * SMALL_PIXELS))
        picture.save(preview, format="PNG")


if __name__ == "__main__":
    os.nice(NICENESS)
    image, label, target, labels, title, spots, modality = sys.argv[1:]
    try:
        files = Path(image), Path(label), Path(target)
        draw(*files, labels=json.loads(labels), title=title, spots=json.loads(spots), modality=modality)
    except (ValueError, OSError) as error:
        sys.exit(" ".join(str(error).split()))
