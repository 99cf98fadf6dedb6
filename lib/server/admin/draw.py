"""Draw one label on its image; run as a process by `lib.server.admin.overlays`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.data.files.atomic import replacing
from lib.data.formats import load
from lib.data.formats.volume import Volume
from lib.data.scintigraphy.pairs import Pair, read_pair
from lib.data.scintigraphy.picture import side_by_side
from lib.evaluation.overlay import Spot, write_overlay

SMALL_PIXELS = 720
SMALL_COLOURS = 128
NICENESS = 5
"""Pictures give way to whoever waits for an answer, as jobs do."""


def draw(
    image: Path,
    label: Path,
    target: Path,
    *,
    labels: Mapping[str, int],
    title: str,
    spots: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write ``<target>.png`` and the preview ``<target>-small.png``.

    Args:
        image: The image's file.
        label: The label's, on the same grid.
        target: Where to, without suffix.
        labels: Value of each class by name; without any, these are a rapid scan and its standard one.
        title: Heading.
        spots: ``{"ras_mm": [x, y, z], "text": ...}`` for each place to ring.
    Raises:
        ValueError: If they cannot be read, or do not lie on one grid.
    """
    if not labels:
        return _draw_pair(image, label, target, title)
    scan, mask = load(image), load(label)
    if scan.voxels.shape != mask.voxels.shape:
        raise ValueError(f"it lies on another grid than its image: {mask.voxels.shape} and {scan.voxels.shape}")
    hu, affine = _canonical(scan)
    values, _ = _canonical(Volume(np.rint(mask.voxels).astype(np.uint8), scan.affine))
    spacing_mm = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    places = [(np.linalg.inv(affine) @ (*spot["ras_mm"], 1.0))[:3].tolist() for spot in spots]
    rings = [Spot(place, spot["text"]) for place, spot in zip(places, spots, strict=True)]
    full, small = (target.with_name(f"{target.name}{end}.png") for end in ("", "-small"))
    with replacing(small) as preview, replacing(full) as file:
        write_overlay(file, hu, values, None, spacing_mm, labels=labels, title=title, spots=rings)
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


def _canonical(volume: Volume) -> tuple[NDArray, NDArray]:
    """Return voxels ``(X, Y, Z)`` in RAS order and their affine."""
    voxels = volume.voxels.reshape((*volume.voxels.shape, 1)[:3])
    turned = nib.as_closest_canonical(nib.Nifti1Image(voxels, volume.affine))
    return np.asarray(turned.dataobj), np.asarray(turned.affine)


if __name__ == "__main__":
    os.nice(NICENESS)
    image, label, target, labels, title, spots = sys.argv[1:]
    try:
        files = Path(image), Path(label), Path(target)
        draw(*files, labels=json.loads(labels), title=title, spots=json.loads(spots))
    except (ValueError, OSError) as error:
        sys.exit(" ".join(str(error).split()))
