"""Draw slices of cases with the labelled parts in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.data.phantom.anatomy.canvas import IGNORE, LARYNX, NASAL_CAVITY, PHARYNX, SINUSES, TRACHEA
from lib.data.phantom.case import PhantomCase

COLOURS: dict[int, tuple[int, int, int]] = {
    NASAL_CAVITY: (255, 90, 60),
    SINUSES: (255, 200, 40),
    PHARYNX: (70, 200, 90),
    LARYNX: (70, 160, 255),
    TRACHEA: (200, 110, 255),
    IGNORE: (150, 150, 150),
}
_TILE_PX = 256


def draw_slice(hu: NDArray[np.int16], label: NDArray[np.uint8], aspect: float) -> Image.Image:
    """Return one slice in the window -1000 to 400 HU, first axis to the right and second axis upwards.

    Args:
        hu: Density in HU, ``(W, H)``.
        label: Part codes, ``(W, H)``.
        aspect: Height of a pixel divided by its width.
    """
    grey = np.clip((hu.astype(np.float32) + 1000) / 1400, 0, 1) * 255
    rgb = np.repeat(grey[..., None], 3, -1)
    for code, colour in COLOURS.items():
        rgb[label == code] = 0.35 * rgb[label == code] + 0.65 * np.array(colour)
    image = Image.fromarray(rgb.transpose(1, 0, 2)[::-1].astype(np.uint8))
    wide, tall = image.width, image.height * aspect
    scale = _TILE_PX / max(wide, tall)
    image = image.resize((max(int(wide * scale), 1), max(int(tall * scale), 1)), Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX))
    tile.paste(image, ((_TILE_PX - image.width) // 2, (_TILE_PX - image.height) // 2))
    return tile


def draw_case(case: PhantomCase) -> list[Image.Image]:
    """Return a coronal, a sagittal and two axial slices through the airway."""
    spacing = np.diag(case.affine)[:3]
    found = np.argwhere((case.label > 0) & (case.label != IGNORE))
    centre = np.median(found, axis=0).astype(int) if len(found) else np.array(case.label.shape) // 2
    i, j, k = map(int, centre)
    upper = int(found[:, 2].max() * 0.35 + k * 0.65) if len(found) else k
    tall = spacing[2] / spacing[0]
    cuts = [(np.s_[:, j, :], tall), (np.s_[i, :, :], tall), (np.s_[:, :, k], 1.0), (np.s_[:, :, upper], 1.0)]
    return [draw_slice(case.image[cut], case.label[cut], float(aspect)) for cut, aspect in cuts]


def draw_cohort(cases: Sequence[PhantomCase], path: Path) -> None:
    """Write a picture with one row per case."""
    rows = [draw_case(case) for case in cases]
    sheet = Image.new("RGB", (_TILE_PX * 4, _TILE_PX * max(len(rows), 1)))
    for r, tiles in enumerate(rows):
        for c, tile in enumerate(tiles):
            sheet.paste(tile, (c * _TILE_PX, r * _TILE_PX))
    sheet.save(path)
