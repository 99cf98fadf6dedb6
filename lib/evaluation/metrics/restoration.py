"""Score a restored scan: image quality, counts and lesions."""

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
        image: Restored image, ``(H, W)``.
        reference: Reference image, ``(H, W)``.
        data_range: Full scale of the intensities; a percentile, because the bladder or the injection site has the
            maximum.
    """
    if np.array_equal(image, reference):
        return float("inf")
    ratio: Any = peak_signal_noise_ratio(_as_float(reference), _as_float(image), data_range=data_range)
    return float(ratio)


def ssim(image: Image, reference: Image, *, data_range: float) -> float:
    """Return the structural similarity in 7 x 7 windows, as in scikit-image.

    Args:
        image: Restored image, ``(H, W)``.
        reference: Reference image, ``(H, W)``.
        data_range: As in `psnr`.
    Source:
        Wang et al. 2004, IEEE TIP 13(4).
    """
    similarity: Any = structural_similarity(_as_float(reference), _as_float(image), data_range=data_range)
    return float(similarity)


def count_bias(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Return the surplus of counts as a share of the reference counts; negative for missing counts.

    Args:
        image: Restored counts, any shape.
        reference: Reference counts, same shape.
        mask: Pixels to sum over; None for all.
    """
    inside = np.ones(image.shape, bool) if mask is None else mask
    total = float(reference[inside].sum(dtype=np.float64))
    return float(image[inside].sum(dtype=np.float64)) / total - 1 if total else float("nan")


def deviance(image: Image, counts: Image) -> float:
    """Return the mean Poisson deviance per pixel of recorded counts from expected counts.

    It is about 1 if `image` is the true mean and the counts are not few, and grows with the error of `image`.
    Complementary counts share no noise with the restored counts, so with them it needs no knowledge of the true mean.

    Args:
        image: Expected counts, any shape, at the count level of `counts`.
        counts: Recorded counts, same shape.
    """
    mean, recorded = np.maximum(_as_float(image), 1e-6), _as_float(counts)
    return float(2 * (xlogy(recorded, recorded / mean) - recorded + mean).mean())


def lesion_contrast(image: Image, lesion: Mask, around: Mask) -> float:
    """Return ``(L - B) / B`` for the means L in the lesion and B around it; nan if B is 0 or `around` is empty."""
    background = float(image[around].mean(dtype=np.float64)) if around.any() else 0.0
    return (float(image[lesion].mean(dtype=np.float64)) - background) / background if background else float("nan")


def contrast_to_noise(image: Image, lesion: Mask, around: Mask) -> float:
    """Return ``(L - B) / SD(B)``: contrast over the standard deviation of the surroundings; nan if that is 0."""
    spread = float(image[around].std(dtype=np.float64)) if around.any() else 0.0
    difference = (
        float(image[lesion].mean(dtype=np.float64)) - float(image[around].mean(dtype=np.float64)) if spread else 0.0
    )
    return difference / spread if spread else float("nan")


def lesion_recovery(image: Image, truth: Image, healthy: Image, lesion: Mask) -> float:
    """Return the share of a lesion's counts that the restored image has: 1 for all, 0 if it was removed as noise.

    Args:
        image: Restored counts, ``(H, W)``.
        truth: True mean counts with the lesion, ``(H, W)``.
        healthy: True mean counts without the lesion, ``(H, W)``.
        lesion: Mask of the lesion, ``(H, W)``.
    """
    added = float((_as_float(truth) - _as_float(healthy))[lesion].sum())
    return float((_as_float(image) - _as_float(healthy))[lesion].sum()) / added if added else float("nan")


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float, *, hole: float = 0.0) -> Mask:
    """Return the mask of the pixels whose centres lie within `radius` of a place, but not within `hole`.

    Args:
        shape: Shape of the mask, ``(H, W)``.
        centre: Row and column of the place, not rounded.
        radius: Outer radius, in pixels.
        hole: Inner radius, in pixels; 0 for a full disc.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return (distance <= radius) & (distance > hole if hole else distance >= 0)


def _as_float(image: Image) -> NDArray[np.float64]:
    return np.asarray(image, np.float64)
