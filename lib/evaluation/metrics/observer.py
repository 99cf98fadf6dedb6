"""A model observer: how well lesions at a known place are told from healthy bone, by channels as coarse as an eye's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.signal import fftconvolve
from scipy.special import eval_laguerre

Images = NDArray[Any]
CHANNELS = 5
RIDGE = 1e-6
"""Of the channels' mean variance, added to each: identical images have no variance to divide by."""


def laguerre_gauss(size: int, width: float, *, count: int = CHANNELS) -> NDArray[np.float64]:
    """Return channels ``(count, size, size)``, orthonormal, for round lesions in the middle of a patch.

    ``u_j(r) = sqrt 2 / a exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)``.

    Args:
        size: Side of the patch, in pixels.
        width: a, in pixels: about the lesion's diameter as it is seen.
        count: Channels.
    Source:
        Gallas & Barrett 2003, JOSA A 20(9).
    """
    place = np.arange(size) - (size - 1) / 2
    r2 = np.square(place)[:, None] + np.square(place)[None]
    bell = np.sqrt(2) / width * np.exp(-np.pi * r2 / width**2)
    return np.stack([bell * eval_laguerre(j, 2 * np.pi * r2 / width**2) for j in range(count)])


@dataclass(frozen=True, eq=False)
class HotellingObserver:
    """The best linear test in the channels' space.

    Args:
        channels: ``(C, h, w)``.
        template: Weight of each channel, ``(C,)``.
    """

    channels: NDArray[np.float64]
    template: NDArray[np.float64]

    @classmethod
    def taught(cls, present: Images, absent: Images, channels: NDArray[np.float64]) -> HotellingObserver:
        """Return the observer that has seen some patches: ``w = S^-1 (mean present - mean absent)``.

        Args:
            present: Patches with a lesion, ``(n, h, w)``.
            absent: Patches without, ``(m, h, w)``.
            channels: ``(C, h, w)``.
        Raises:
            ValueError: If there are fewer patches of a kind than channels and one.
        """
        if min(len(present), len(absent)) <= len(channels):
            raise ValueError(f"{len(channels)} channels take more patches than {len(present)} and {len(absent)}")
        seen, bare = (_responses(images, channels) for images in (present, absent))
        spread = (np.cov(seen, rowvar=False) + np.cov(bare, rowvar=False)) / 2
        spread = spread + RIDGE * np.trace(spread) / len(channels) * np.eye(len(channels))
        return cls(channels, np.linalg.solve(spread, seen.mean(0) - bare.mean(0)))

    def scores(self, images: Images) -> NDArray[np.float64]:
        """Return how sure the observer is of a lesion in each of ``images (n, h, w)``."""
        return _responses(images, self.channels) @ self.template

    def search(self, image: Images, least: float = 1e-6) -> NDArray[np.float64]:
        """Return how sure it is of a lesion at every place, of patches divided by their own mean; beyond the edge is 0.

        Args:
            image: ``(H, W)``.
            least: Mean of a patch that is taken for one of a lower mean, where there is nothing to see.
        """
        seen, kernel = np.asarray(image, np.float64), np.tensordot(self.template, self.channels, 1)
        means = uniform_filter(seen, len(kernel), mode="constant")
        return fftconvolve(seen, kernel[::-1, ::-1], mode="same") / np.maximum(means, least)


def peaks(certainty: NDArray[np.float64], threshold: float, reach: int) -> NDArray[np.int64]:
    """Return the places ``(n, 2)`` that are above a threshold and above all others within `reach` pixels."""
    highest = maximum_filter(certainty, 2 * reach + 1)
    return np.argwhere((certainty == highest) & (certainty > threshold))


def detectability(present: Images, absent: Images, channels: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve on patches that the observer was not taught by: each half judges the other.

    Args:
        present: Patches with a lesion in the middle, ``(n, h, w)``.
        absent: Patches without, in an order that has nothing to do with their content, ``(m, h, w)``.
        channels: ``(C, h, w)``.
    """
    areas = []
    for half in (0, 1):
        observer = HotellingObserver.taught(present[half::2], absent[half::2], channels)
        areas.append(area_under_roc(observer.scores(present[1 - half :: 2]), observer.scores(absent[1 - half :: 2])))
    return float(np.mean(areas))


def area_under_roc(present: NDArray[np.floating], absent: NDArray[np.floating]) -> float:
    """Return the share of pairs that are scored in the right order; a tie counts half."""
    apart = np.sign(present[:, None] - absent[None])
    return float((1 + apart.mean()) / 2)


def _responses(images: Images, channels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(images, np.float64).reshape(len(images), -1) @ channels.reshape(len(channels), -1).T
