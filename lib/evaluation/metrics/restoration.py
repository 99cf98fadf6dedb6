"""How good a restored scan is: as an image, in its counts, and in its lesions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Image = NDArray[Any]
Mask = NDArray[np.bool_]


def psnr(image: Image, reference: Image, *, data_range: float) -> float:
    """Return ``10 log10(range^2 / MSE)`` in dB; infinite for equal images.

    Args:
        image: ``(H, W)``.
        reference: The same.
        data_range: What counts as full scale. A maximum is a bladder's or an injection's: take a percentile.
    """
    if np.array_equal(image, reference):
        return float("inf")
    ratio: Any = peak_signal_noise_ratio(_real(reference), _real(image), data_range=data_range)
    return float(ratio)


def ssim(image: Image, reference: Image, *, data_range: float) -> float:
    """Return the structural similarity, 7 x 7 windows, as scikit-image has it.

    Args:
        image: ``(H, W)``.
        reference: The same.
        data_range: As for `psnr`.
    Source:
        Wang et al. 2004, IEEE TIP 13(4).
    """
    similarity: Any = structural_similarity(_real(reference), _real(image), data_range=data_range)
    return float(similarity)


def count_bias(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Return the counts too many as a share of those of the reference, below 0 for too few.

    Args:
        image: Of any shape.
        reference: The same.
        mask: Where to count; everywhere where absent.
    """
    inside = np.ones(image.shape, bool) if mask is None else mask
    total = float(reference[inside].sum(dtype=np.float64))
    return float(image[inside].sum(dtype=np.float64)) / total - 1 if total else float("nan")


def deviance(image: Image, counts: Image) -> float:
    """Return the mean Poisson deviance per pixel of counts that `image` expects.

    About 1 where the image is the true mean and counts are not few, more the farther it lies off. With complementary
    counts, which share no noise with what was restored, it judges without knowing the truth.

    Args:
        image: Expected counts, of any shape, on the level of `counts`.
        counts: Recorded ones.
    """
    mean, seen = np.maximum(_real(image), 1e-6), _real(counts)
    return float(2 * (xlogy(seen, seen / mean) - seen + mean).mean())


def lesion_contrast(image: Image, lesion: Mask, around: Mask) -> float:
    """Return ``(L - B) / B``, of the means in the lesion and around it; nan where there is nothing around."""
    background = float(image[around].mean(dtype=np.float64)) if around.any() else 0.0
    return (float(image[lesion].mean(dtype=np.float64)) - background) / background if background else float("nan")


def contrast_to_noise(image: Image, lesion: Mask, around: Mask) -> float:
    """Return ``(L - B) / SD(B)``: contrast over how much the surroundings vary."""
    spread = float(image[around].std(dtype=np.float64)) if around.any() else 0.0
    above = float(image[lesion].mean(dtype=np.float64)) - float(image[around].mean(dtype=np.float64)) if spread else 0.0
    return above / spread if spread else float("nan")


def lesion_recovery(image: Image, truth: Image, healthy: Image, lesion: Mask) -> float:
    """Return how much of what a lesion adds is there: 1 for all of it, 0 where the restorer took it for noise.

    Args:
        image: Restored counts.
        truth: The mean with the lesion.
        healthy: The mean without it.
        lesion: Where it adds.
    """
    added = float((_real(truth) - _real(healthy))[lesion].sum())
    return float((_real(image) - _real(healthy))[lesion].sum()) / added if added else float("nan")


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float, *, hole: float = 0.0) -> Mask:
    """Return the pixels whose middles lie within `radius` of a place, and not within `hole` of it.

    Args:
        shape: ``(H, W)``.
        centre: Row and column, not rounded.
        radius: In pixels.
        hole: In pixels.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    apart = np.hypot(rows - centre[0], columns - centre[1])
    return (apart <= radius) & (apart > hole if hole else apart >= 0)


def _real(image: Image) -> NDArray[np.float64]:
    return np.asarray(image, np.float64)
