"""Bone scans for benchmarks: procedural cases with ground truth, the one real scan, and scores of a restorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.scintigraphy.counts import read_counts
from lib.data.scintigraphy.sample import bone_scan
from lib.data.scintigraphy.skeleton import ScanCase, make_case
from lib.data.scintigraphy.thinning import thin
from lib.evaluation.metrics.observer import HotellingObserver, detectability, find_peaks, laguerre_gauss
from lib.evaluation.metrics.restoration import (
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
"""Returns expected counts of the standard scan, from counts ``(V, H, W)`` and their fraction of the standard scan."""
RANGE_PERCENTILE = 99.5
PATCH_MM, CHANNEL_MM = 110.0, 26.0
LEAST_ADDED = 0.1
"""A lesion that adds less than this share of the counts at its place cannot be detected and is not counted."""
TRAIN_SEED, TEST_SEED = 1_000, 2_000
FOUND, CONFIRMED = 0.8, 0.95
"""Shares of the cohort's lesions that set the observer's thresholds: to find lesions, and to confirm findings."""
NEAR_MM = 18.0
"""Two findings within this distance are the same."""
LEAST_CERTAIN = 0.2
"""A patch with less than this share of the body's mean counts is outside the body."""


@dataclass(frozen=True, eq=False)
class Reader:
    """An observer that is trained on the cohort's lesions in the images of one restorer.

    Args:
        observer: Observer trained on all lesions.
        certainty: Scores of the observer for these lesions.
        pixel_mm: Pixel size of the images, in mm.
    """

    observer: HotellingObserver
    certainty: NDArray[np.float64]
    pixel_mm: float

    def findings(self, image: Counts, share: float) -> NDArray[np.int64]:
        """Return the pixels of findings in a view ``(H, W)``; the threshold finds a share of the cohort's lesions."""
        least = LEAST_CERTAIN * float(image[image > np.median(image)].mean())
        threshold = float(np.quantile(self.certainty, 1 - share))
        return find_peaks(self.observer.search(image, least), threshold, round(NEAR_MM / 2 / self.pixel_mm))

    def invented(self, images: Counts, standard: Counts, other: Reader) -> int:
        """Return the number of findings in views ``(V, H, W)`` that `other` does not confirm in the standard scan."""
        count = 0
        for image, reference in zip(images, standard, strict=True):
            found, confirmed = self.findings(image, FOUND), other.findings(reference, CONFIRMED)
            distances_mm = np.linalg.norm(found[:, None] - confirmed[None], axis=2) * self.pixel_mm
            count += int((distances_mm > NEAR_MM).all(1).sum())
        return count


def cohort(count: int, first_seed: int, pixel_mm: float, **options: Any) -> list[ScanCase]:
    """Return procedural cases of consecutive seeds."""
    return [make_case(first_seed + index, pixel_mm=pixel_mm, **options) for index in range(count)]


def score(restore: Restorer, cases: Sequence[ScanCase], fraction: float) -> tuple[dict[str, float], Reader]:
    """Return the scores of a restorer on held-out cases, from rapid scans that are drawn with the seed of the case.

    Args:
        restore: The restorer.
        cases: Cases with lesions.
        fraction: Fraction of counts of the rapid scans.
    Returns:
        Means over cases and views, with ``auc`` of the observer over all lesions; and the trained observer.
    """
    rows: list[dict[str, float]] = []
    present: list[Counts] = []
    absent: list[Counts] = []
    for case in cases:
        rng = np.random.default_rng([case.seed, round(1000 * fraction)])
        with_lesions, healthy = (case.scan(fraction, rng, lesions=lesions) for lesions in (True, False))
        restored, bare = restore(with_lesions, fraction), restore(healthy, fraction)
        unseen = case.scan(1 - fraction, rng)
        rows.append(_image_scores(restored, case, unseen, fraction) | _lesion_scores(restored, case))
        patches = _patches(restored, bare, case)
        present, absent = present + patches[0], absent + patches[1]
    names = rows[0]
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in names}
    seen, bare, channels = _normalised(present, absent, cases[0].pixel_mm)
    means |= {"auc": detectability(seen, bare, channels), "lesions": len(present)}
    return means, _reader(seen, bare, channels, cases[0].pixel_mm)


def standard_reader(cases: Sequence[ScanCase]) -> Reader:
    """Return the observer that is trained on standard scans."""
    present: list[Counts] = []
    absent: list[Counts] = []
    for case in cases:
        patches = _patches(case.counts, case.scan(1.0, np.random.default_rng(case.seed), lesions=False), case)
        present, absent = present + patches[0], absent + patches[1]
    return _reader(*_normalised(present, absent, cases[0].pixel_mm), cases[0].pixel_mm)


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
    """Return view, place and radius in pixels of every lesion that is detectable in a view."""
    seen = []
    for lesion in case.lesions:
        for view, place in enumerate(lesion.pixels):
            at = tuple(int(np.clip(round(v), 0, side - 1)) for v, side in zip(place, case.mean.shape[1:], strict=True))
            added = float(case.mean[view][at] - case.healthy[view][at])
            if added > LEAST_ADDED * float(case.healthy[view][at]):
                seen.append((view, place, max(lesion.radius_mm / case.pixel_mm, 1.5)))
    return seen


def _patches(restored: Counts, bare: Counts, case: ScanCase) -> tuple[list[Counts], list[Counts]]:
    """Return patches around every lesion, with the lesion and without."""
    half = round(PATCH_MM / case.pixel_mm) // 2
    places = [(view, round(row), round(column)) for view, (row, column), _ in _visible(case)]
    padded = [np.pad(image, ((0, 0), (half, half), (half, half))) for image in (restored, bare)]
    cut = [[image[v, r : r + 2 * half + 1, c : c + 2 * half + 1] for v, r, c in places] for image in padded]
    return cut[0], cut[1]


def _normalised(present: list[Counts], absent: list[Counts], pixel_mm: float) -> tuple[Counts, Counts, Counts]:
    """Return patches divided by their mean, and channels; counts differ more between places than by a lesion."""
    seen, bare = (np.stack([patch / max(patch.mean(), 1e-6) for patch in patches]) for patches in (present, absent))
    return seen, bare, laguerre_gauss(seen.shape[1], CHANNEL_MM / pixel_mm)


def _reader(seen: Counts, bare: Counts, channels: Counts, pixel_mm: float) -> Reader:
    observer = HotellingObserver.fit(seen, bare, channels)
    return Reader(observer, observer.scores(seen), pixel_mm)


def real_scan(pixel_mm: float) -> Counts | None:
    """Return the counts of the real scan, binned to the pixel size of the cohort; None if its package is missing."""
    try:
        scan = read_counts(bone_scan())
    except FileNotFoundError as error:
        print(error)
        return None
    side = max(round(pixel_mm / scan.spacing_mm[0]), 1)
    views, height, width = scan.counts.shape
    return scan.counts.reshape(views, height // side, side, width // side, side).sum((2, 4))


def score_real(
    restore: Restorer, counts: Counts, fraction: float, reader: Reader, other: Reader, *, draw: int = 0
) -> dict[str, float]:
    """Return the scores of a restorer on the thinned real scan, against the complementary counts.

    The whole scan shares its noise with the rapid scan. The complementary counts share no noise with it, but have more
    noise of their own.

    Args:
        restore: The restorer.
        counts: Counts of the whole scan, ``(V, H, W)``.
        fraction: Fraction of the counts in the thinned scan.
        reader: Observer trained on restored scans.
        other: Observer trained on standard scans.
        draw: Number of the draw, which is part of the seed of the thinning.
    """
    rapid, unseen = thin(counts, fraction, np.random.default_rng([7 + draw, round(1000 * fraction)]))
    restored, rest = restore(rapid, fraction), unseen / (1 - fraction)
    span = [float(np.percentile(view, RANGE_PERCENTILE)) for view in counts]
    views = list(zip(restored, rest, span, strict=True))
    return {
        "psnr": float(np.mean([psnr(image, left, data_range=width) for image, left, width in views])),
        "ssim": float(np.mean([ssim(image, left, data_range=width) for image, left, width in views])),
        "deviance": deviance((1 - fraction) * restored, unseen),
        "count_bias": count_bias(restored, counts),
        "invented": reader.invented(restored, counts, other),
    }
