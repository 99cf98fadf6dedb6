"""Bone scans for a benchmark: procedural cases with their truth, the one real scan, and a restorer's scores on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.scintigraphy.counts import read_counts
from lib.data.scintigraphy.sample import bone_scan
from lib.data.scintigraphy.skeleton import ScanCase, make_case
from lib.data.scintigraphy.thinning import thin
from lib.evaluation.observer import detectability, laguerre_gauss
from lib.evaluation.restoration import (
    contrast_to_noise,
    count_bias,
    deviance,
    disc,
    lesion_recovery,
    psnr,
    ssim,
)

Counts = NDArray[Any]
Restorer = Callable[[Counts, float], Counts]
"""Expected counts of the whole scan, from counts ``(V, H, W)`` and the fraction they are of it."""
RANGE_PERCENTILE = 99.5
PATCH_MM, CHANNEL_MM = 110.0, 26.0
LEAST_ADDED = 0.1
"""A lesion that adds less than this share of the counts at its place is no lesion that anybody could find."""
TRAIN_SEED, TEST_SEED = 1_000, 2_000


def cohort(count: int, first_seed: int, pixel_mm: float, **options: Any) -> list[ScanCase]:
    """Return procedural cases of consecutive seeds."""
    return [make_case(first_seed + index, pixel_mm=pixel_mm, **options) for index in range(count)]


def score(restore: Restorer, cases: Sequence[ScanCase], fraction: float) -> dict[str, float]:
    """Return the scores of a restorer on cases that it never saw; each is scanned rapidly anew, by its own seed.

    Args:
        restore: The restorer.
        cases: With lesions.
        fraction: Of the rapid scans.
    Returns:
        Means over cases and views; ``auc`` of the observer over all lesions.
    """
    rows: list[dict[str, float]] = []
    present: list[Counts] = []
    absent: list[Counts] = []
    for case in cases:
        rng = np.random.default_rng([case.seed, round(1000 * fraction)])
        ill, healthy = (case.scan(fraction, rng, lesions=lesions) for lesions in (True, False))
        restored, bare = restore(ill, fraction), restore(healthy, fraction)
        unseen = case.scan(1 - fraction, rng)
        rows.append(_image_scores(restored, case, unseen, fraction) | _lesion_scores(restored, case))
        patches = _patches(restored, bare, case)
        present, absent = present + patches[0], absent + patches[1]
    names = rows[0]
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in names}
    return means | {"auc": _area(present, absent, cases[0].pixel_mm), "lesions": len(present)}


def _image_scores(restored: Counts, case: ScanCase, unseen: Counts, fraction: float) -> dict[str, float]:
    span = [float(np.percentile(mean, RANGE_PERCENTILE)) for mean in case.mean]
    pairs = list(zip(restored, case.mean, case.counts, span, strict=True))
    return {
        "psnr": float(np.mean([psnr(image, mean, data_range=width) for image, mean, _, width in pairs])),
        "ssim": float(np.mean([ssim(image, mean, data_range=width) for image, mean, _, width in pairs])),
        "psnr_standard": float(np.mean([psnr(image, other, data_range=width) for image, _, other, width in pairs])),
        "deviance": deviance((1 - fraction) * restored, unseen),
        "count_bias": count_bias(restored, case.mean),
        "count_bias_air": count_bias(restored, case.mean, case.mean < np.median(case.mean)),
    }


def _lesion_scores(restored: Counts, case: ScanCase) -> dict[str, float]:
    found: dict[str, list[float]] = {"recovery": [], "cnr": []}
    shape = (restored.shape[1], restored.shape[2])
    for view, place, radius in _visible(case):
        lesion = disc(shape, place, radius)
        around = disc(shape, place, radius + 5, hole=radius + 2)
        found["recovery"].append(lesion_recovery(restored[view], case.mean[view], case.healthy[view], lesion))
        found["cnr"].append(contrast_to_noise(restored[view], lesion, around))
    return {name: float(np.nanmean(values)) if values else float("nan") for name, values in found.items()}


def _visible(case: ScanCase) -> list[tuple[int, tuple[float, float], float]]:
    """Return view, place and radius in pixels of every lesion that a view shows at all."""
    seen = []
    for lesion in case.lesions:
        for view, place in enumerate(lesion.pixels):
            at = tuple(int(np.clip(round(v), 0, side - 1)) for v, side in zip(place, case.mean.shape[1:], strict=True))
            added = float(case.mean[view][at] - case.healthy[view][at])
            if added > LEAST_ADDED * float(case.healthy[view][at]):
                seen.append((view, place, max(lesion.radius_mm / case.pixel_mm, 1.5)))
    return seen


def _patches(restored: Counts, bare: Counts, case: ScanCase) -> tuple[list[Counts], list[Counts]]:
    """Return patches around every lesion, with it and without."""
    half = round(PATCH_MM / case.pixel_mm) // 2
    places = [(view, round(row), round(column)) for view, (row, column), _ in _visible(case)]
    padded = [np.pad(image, ((0, 0), (half, half), (half, half))) for image in (restored, bare)]
    cut = [[image[v, r : r + 2 * half + 1, c : c + 2 * half + 1] for v, r, c in places] for image in padded]
    return cut[0], cut[1]


def _area(present: list[Counts], absent: list[Counts], pixel_mm: float) -> float:
    if len(present) < 16:
        return float("nan")
    # Divided by its own mean, since people and places differ in counts by far more than a lesion adds.
    seen, bare = (np.stack([patch / max(patch.mean(), 1e-6) for patch in patches]) for patches in (present, absent))
    return detectability(seen, bare, laguerre_gauss(seen.shape[1], CHANNEL_MM / pixel_mm))


def real_scan(pixel_mm: float) -> Counts | None:
    """Return the real scan's counts, pixels added up to the cohort's size; None where its package is absent."""
    try:
        scan = read_counts(bone_scan())
    except FileNotFoundError as error:
        print(error)
        return None
    side = max(round(pixel_mm / scan.spacing_mm[0]), 1)
    views, height, width = scan.counts.shape
    return scan.counts.reshape(views, height // side, side, width // side, side).sum((2, 4))


def score_real(restore: Restorer, counts: Counts, fraction: float) -> dict[str, float]:
    """Return how a restorer does on the real scan, thinned; the deviance is of counts that it has not seen.

    The whole scan, which `psnr` and `ssim` compare with, holds the rapid one's counts and so its noise.
    """
    rapid, unseen = thin(counts, fraction, np.random.default_rng([7, round(1000 * fraction)]))
    restored = restore(rapid, fraction)
    span = float(np.percentile(counts, RANGE_PERCENTILE))
    return {
        "deviance": deviance((1 - fraction) * restored, unseen),
        "psnr_whole": psnr(restored[0], counts[0], data_range=span),
        "ssim_whole": ssim(restored[0], counts[0], data_range=span),
        "count_bias": count_bias(restored, counts),
    }
