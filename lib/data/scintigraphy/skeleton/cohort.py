"""Write procedural pairs as a MONAI Label studies folder: rapid scans, with standard scans as final labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.data.scintigraphy.picture import side_by_side
from lib.data.scintigraphy.skeleton.case import ScanCase, make_case

ABOUT = "about"
"""Folder for the ground truth and the picture; files in the studies folder itself would be studies."""
PIXEL_MM = 2.26
FRACTIONS = (0.5, 0.25, 0.1)
_PICTURED = 6


def write_pairs(
    out: Path | str,
    *,
    count: int,
    seed: int,
    fractions: Sequence[float] = FRACTIONS,
    pixel_mm: float = PIXEL_MM,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `count` pairs, ``about/truth.json`` and ``about/cohort.png``.

    The two scans of a pair are independent recordings of the same person; the rapid scan has a fraction of the counts.
    The default fractions and spacing are those of real scans, so that a network trained on the pairs fits real scans.

    Args:
        out: Output folder for counts ``(X, Y, V)``: ``skeleton_0000.nii.gz``, ``labels/final/skeleton_0000.nii.gz``.
        count: Number of pairs.
        seed: Seed of the cohort; a pair depends only on this seed and its index.
        fractions: Fractions of the counts of a standard scan, used in turn.
        pixel_mm: Pixel spacing, in mm.
        progress: Called with the number of finished pairs and the number of all pairs.
    Returns:
        Paths of the rapid scans.
    """
    folder, paths, truth, pictured = Path(out), [], {}, []
    for name in ("labels/final", ABOUT):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        number = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint32)[0])
        case, name = make_case(number, pixel_mm=pixel_mm), f"skeleton_{index:04d}"
        fraction = fractions[index % len(fractions)]
        rapid = case.scan(fraction, np.random.default_rng([number, 1]))
        paths.append(_save(rapid, pixel_mm, folder / f"{name}.nii.gz"))
        _save(case.counts, pixel_mm, folder / "labels" / "final" / f"{name}.nii.gz")
        truth[name] = _truth_of(case) | {"fraction": fraction}
        pictured += [(rapid / fraction, case.counts)] if index < _PICTURED else []
        if progress is not None:
            progress(index + 1, count)
    (folder / ABOUT / "truth.json").write_text(json.dumps(truth, indent=1))
    rows = [np.asarray(side_by_side([rapid, standard])) for rapid, standard in pictured]
    Image.fromarray(np.concatenate(rows, 1)).save(folder / ABOUT / "cohort.png")
    return paths


def _truth_of(case: ScanCase) -> dict[str, Any]:
    facts = {"seed": case.seed, "views": list(case.views), "counts": case.counts.sum((1, 2)).tolist()}
    return facts | {"lesions": [asdict(lesion) for lesion in case.lesions]}


def _save(counts: NDArray[Any], pixel_mm: float, path: Path) -> Path:
    array = np.ascontiguousarray(counts.transpose(2, 1, 0).astype(np.int16))
    image = nib.Nifti1Image(array, np.diag([pixel_mm, pixel_mm, 1.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path
