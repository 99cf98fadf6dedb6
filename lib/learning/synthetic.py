"""Images made of label maps: drawn by a diffusion model, copies of what it learned from left out, written as cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lib.data.files.atomic import replacing
from lib.data.patches.label_maps import Maps
from lib.data.pipeline import IGNORE, ImageSpec
from lib.data.volumes.save import write_volume
from lib.evaluation.memorisation import Likeness, likeness
from lib.models.denoiser import Denoiser

STEPS, BATCH = 50, 8
REPORT, PICTURE, CASES = "synthetic.json", "synthetic.png", "cases"
_SHOWN, _SCALE = 8, 2
_TINT = np.array([255, 120, 40], np.float32)


@dataclass(frozen=True, eq=False)
class Made:
    """Pairs, and how near their images lie to real ones.

    Args:
        images: ``(n, S, H, W)`` in [0, 1]; of neighbouring slices.
        labels: Of the middle ones, uint8 ``(n, H, W)``.
        likeness: Of the middle slices.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    likeness: Likeness

    @property
    def kept(self) -> NDArray[np.int64]:
        """The numbers of those that are no copies."""
        return np.flatnonzero(~self.likeness.copies)


def neighbours(spec: ImageSpec) -> ImageSpec:
    """Return a reading of all slices from the first offset to the last: what is made together."""
    first, last = min(spec.slice_offsets), max(spec.slice_offsets)
    return replace(spec, slice_offsets=tuple(range(first, last + 1)))


def make(
    network: Denoiser,
    maps: NDArray[np.uint8],
    learned: Maps,
    unseen: Maps | None = None,
    *,
    seed: int = 0,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Return an image of every map.

    Args:
        network: Taught by `lib.learning.recipes.synthesise`.
        maps: ``(n, H, W)``.
        learned: What it learned from.
        unseen: Other patients' slices, to compare with.
        seed: Of the noise.
        steps: From noise to image.
        progress: Told of maps done, and of all.
    """
    network.eval()
    generator, parts = torch.Generator().manual_seed(seed), []
    for start in range(0, len(maps), BATCH):
        labels = torch.from_numpy(maps[start : start + BATCH].astype(np.int64))
        parts.append(network.sample(labels, steps=steps, generator=generator).cpu().numpy())
        if progress is not None:
            progress(start + len(labels), len(maps))
    images = np.concatenate(parts)
    known = likeness(
        images[:, images.shape[1] // 2], learned.images, learned.owners, None if unseen is None else unseen.images
    )
    return Made(images, maps, known)


def volumes(made: Made, spec: ImageSpec) -> list[tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Return the pairs that are no copies as volumes in HU with labels, 255 beside the middle slice, ``(X, Y, Z)``."""
    low, high = spec.window_hu
    pairs = []
    for number in made.kept:
        hu = np.rint(low + (high - low) * made.images[number]).astype(np.int16).transpose(1, 2, 0)
        label = np.full(hu.shape, IGNORE, np.uint8)
        label[..., hu.shape[2] // 2] = made.labels[number]
        pairs.append((hu, label))
    return pairs


def write(made: Made, spec: ImageSpec, folder: Path, learned: Maps) -> dict[str, Any]:
    """Write the pairs as cases ``synthetic_0000``, a picture beside real slices, and a report.

    Args:
        made: The pairs.
        spec: How they were made.
        folder: Where to; the cases lie in `CASES` below it, with their labels in ``labels/final``.
        learned: What was learned from, for the picture.
    Returns:
        The report: counts, distances, the bar, which were left out and of whom they are copies.
    """
    cases = folder / CASES
    (cases / "labels" / "final").mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spec.spacing_mm, 1.0])
    for number, (hu, label) in enumerate(volumes(made, spec)):
        name = f"synthetic_{number:04d}.nii.gz"
        write_volume(hu, affine, cases / name)
        write_volume(label, affine, cases / "labels" / "final" / name)
    near = made.likeness
    told = {
        "made": len(made.images),
        "kept": len(made.kept),
        "bar": near.bar,
        "nearest_learned": _spread(near.learned),
        "nearest_unseen": _spread(near.unseen),
        "copies": [
            {"number": int(n), "distance": float(near.learned[n]), "of": learned.owners[near.nearest[n]]}
            for n in np.flatnonzero(near.copies)
        ],
    }
    with replacing(folder / REPORT) as partial:
        partial.write_text(json.dumps(told, indent=1))
    draw(made, learned, folder / PICTURE)
    return told


def draw(made: Made, learned: Maps, path: Path) -> None:
    """Write rows of real slices, their labels over them, and of made ones: with the map they were made of, and without.

    Args:
        made: The pairs.
        learned: Real slices.
        path: PNG to write.
    """
    count = min(_SHOWN, len(made.images), len(learned.images))
    real = np.linspace(0, len(learned.images) - 1, count).round().astype(int)
    middle = made.images[:count, made.images.shape[1] // 2]
    rows = [
        [_tile(learned.images[n]) for n in real],
        [_tile(learned.images[n], learned.labels[n]) for n in real],
        [_tile(image) for image in middle],
        [_tile(image, label) for image, label in zip(middle, made.labels, strict=False)],
    ]
    sheet = Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in rows]))
    sheet.resize((sheet.width * _SCALE, sheet.height * _SCALE), Image.Resampling.NEAREST).save(path)


def _tile(image: NDArray[np.float32], label: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    grey = np.repeat(255 * image[..., None], 3, -1)
    if label is not None:
        drawn = (label > 0) & (label != IGNORE)
        grey[drawn] = 0.45 * grey[drawn] + 0.55 * _TINT
    # First axis to the right, second upwards.
    tile = grey.transpose(1, 0, 2)[::-1]
    return np.pad(tile, ((1, 1), (1, 1), (0, 0))).astype(np.uint8)


def _spread(distances: NDArray[np.float64]) -> dict[str, float]:
    if not len(distances):
        return {}
    low, middle, high = np.quantile(distances, [0.05, 0.5, 0.95])
    return {"p5": float(low), "median": float(middle), "p95": float(high)}
