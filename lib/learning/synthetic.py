"""Generate synthetic images from label maps with a diffusion model, reject copies of training images, write cases."""

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
from lib.data.patches.label_maps import LabelMaps
from lib.data.pipeline import IGNORE, ImageSpec
from lib.data.volumes.save import write_volume
from lib.evaluation.memorisation import NearestDistances, measure_distances
from lib.models.denoiser import Denoiser

STEPS, BATCH = 50, 8
REPORT, PICTURE, CASES = "synthetic.json", "synthetic.png", "cases"
_SHOWN, _SCALE = 8, 2
_TINT = np.array([255, 120, 40], np.float32)


@dataclass(frozen=True, eq=False)
class SyntheticPairs:
    """Pairs of synthetic image and label map, with the distances of the images to real ones.

    Args:
        images: Stacks of neighbouring slices, ``(n, S, H, W)`` in [0, 1].
        labels: Label maps of the middle slices, uint8 ``(n, H, W)``.
        likeness: Distances of the middle slices to real slices.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    likeness: NearestDistances

    @property
    def accepted(self) -> NDArray[np.int64]:
        """Indices of the pairs that are not copies of training images."""
        return np.flatnonzero(~self.likeness.is_copy)


def contiguous_slices(spec: ImageSpec) -> ImageSpec:
    """Return `spec` with all slice offsets from the first to the last; these slices are generated together."""
    first, last = min(spec.slice_offsets), max(spec.slice_offsets)
    return replace(spec, slice_offsets=tuple(range(first, last + 1)))


def generate(
    network: Denoiser,
    maps: NDArray[np.uint8],
    learned: LabelMaps,
    unseen: LabelMaps | None = None,
    *,
    seed: int = 0,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticPairs:
    """Generate an image for every label map.

    Args:
        network: Diffusion model, trained with `lib.learning.recipes.synthesise`.
        maps: Label maps, ``(n, H, W)``.
        learned: Slices on which the diffusion model was trained.
        unseen: Slices of other patients, as a reference for the distances.
        seed: Seed of the noise.
        steps: Denoising steps from noise to image.
        progress: Called after every batch with (maps done, maps in all).
    """
    network.eval()
    generator, parts = torch.Generator().manual_seed(seed), []
    for start in range(0, len(maps), BATCH):
        labels = torch.from_numpy(maps[start : start + BATCH].astype(np.int64))
        parts.append(network.sample(labels, steps=steps, generator=generator).cpu().numpy())
        if progress is not None:
            progress(start + len(labels), len(maps))
    images = np.concatenate(parts)
    distances = measure_distances(
        images[:, images.shape[1] // 2], learned.images, learned.owners, None if unseen is None else unseen.images
    )
    return SyntheticPairs(images, maps, distances)


def as_volumes(pairs: SyntheticPairs, spec: ImageSpec) -> list[tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Return the accepted pairs as volumes of intensities and labels, ``(X, Y, Z)``.

    Only the middle slice has a label; all other slices are 255 (ignored).
    """
    low, high = spec.window
    volumes = []
    for index in pairs.accepted:
        intensities = np.rint(low + (high - low) * pairs.images[index]).astype(np.int16).transpose(1, 2, 0)
        label = np.full(intensities.shape, IGNORE, np.uint8)
        label[..., intensities.shape[2] // 2] = pairs.labels[index]
        volumes.append((intensities, label))
    return volumes


def write_cases(pairs: SyntheticPairs, spec: ImageSpec, folder: Path, learned: LabelMaps) -> dict[str, Any]:
    """Write the accepted pairs as cases ``synthetic_0000``, ..., a picture next to real slices, and a report.

    Args:
        pairs: Synthetic images with their label maps.
        spec: Grid, window and slices of the synthetic images.
        folder: Output folder; the cases are written to its subfolder `CASES`, their labels to ``labels/final`` there.
        learned: Slices on which the diffusion model was trained, for the picture.
    Returns:
        The report: numbers of images, distances, the threshold for copies, and the rejected copies with their patients.
    """
    cases = folder / CASES
    (cases / "labels" / "final").mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spec.spacing_mm, 1.0])
    for number, (intensities, label) in enumerate(as_volumes(pairs, spec)):
        name = f"synthetic_{number:04d}.nii.gz"
        write_volume(intensities, affine, cases / name)
        write_volume(label, affine, cases / "labels" / "final" / name)
    near = pairs.likeness
    report = {
        "made": len(pairs.images),
        "kept": len(pairs.accepted),
        "bar": near.copy_threshold,
        "nearest_learned": _spread(near.to_training),
        "nearest_unseen": _spread(near.to_unseen),
        "copies": [
            {"number": int(n), "distance": float(near.to_training[n]), "of": learned.owners[near.nearest_training[n]]}
            for n in np.flatnonzero(near.is_copy)
        ],
    }
    with replacing(folder / REPORT) as partial:
        partial.write_text(json.dumps(report, indent=1))
    draw_picture(pairs, learned, folder / PICTURE)
    return report


def draw_picture(pairs: SyntheticPairs, learned: LabelMaps, path: Path) -> None:
    """Draw four rows: real slices, real slices with their labels, synthetic slices, synthetic slices with their maps.

    Args:
        pairs: Synthetic images with their label maps.
        learned: Real slices with their labels.
        path: PNG file to write.
    """
    count = min(_SHOWN, len(pairs.images), len(learned.images))
    real = np.linspace(0, len(learned.images) - 1, count).round().astype(int)
    middle = pairs.images[:count, pairs.images.shape[1] // 2]
    rows = [
        [_tile(learned.images[n]) for n in real],
        [_tile(learned.images[n], learned.labels[n]) for n in real],
        [_tile(image) for image in middle],
        [_tile(image, label) for image, label in zip(middle, pairs.labels, strict=False)],
    ]
    sheet = Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in rows]))
    sheet.resize((sheet.width * _SCALE, sheet.height * _SCALE), Image.Resampling.NEAREST).save(path)


def _tile(image: NDArray[np.float32], label: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    grey = np.repeat(255 * image[..., None], 3, -1)
    if label is not None:
        drawn = (label > 0) & (label != IGNORE)
        grey[drawn] = 0.45 * grey[drawn] + 0.55 * _TINT
    # In the picture the first axis points right and the second axis points up.
    tile = grey.transpose(1, 0, 2)[::-1]
    return np.pad(tile, ((1, 1), (1, 1), (0, 0))).astype(np.uint8)


def _spread(distances: NDArray[np.float64]) -> dict[str, float]:
    if not len(distances):
        return {}
    low, middle, high = np.quantile(distances, [0.05, 0.5, 0.95])
    return {"p5": float(low), "median": float(middle), "p95": float(high)}
