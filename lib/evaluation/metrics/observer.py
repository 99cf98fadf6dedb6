"""Measure how well lesions at a known place can be detected, with a channelised Hotelling observer."""

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
"""Share of the mean channel variance that is added to each variance, because identical images have none."""


def laguerre_gauss(size: int, width: float, *, count: int = CHANNELS) -> NDArray[np.float64]:
    """Return orthonormal channels ``(count, size, size)`` for round lesions at the centre of a patch.

    ``u_j(r) = sqrt 2 / a exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)``.

    Args:
        size: Side of the patch, in pixels.
        width: Width a of the channels in pixels, about the visible diameter of the lesion.
        count: Number of channels.
    Source:
        Gallas & Barrett 2003, JOSA A 20(9).
    """
    place = np.arange(size) - (size - 1) / 2
    r2 = np.square(place)[:, None] + np.square(place)[None]
    bell = np.sqrt(2) / width * np.exp(-np.pi * r2 / width**2)
    return np.stack([bell * eval_laguerre(j, 2 * np.pi * r2 / width**2) for j in range(count)])


@dataclass(frozen=True, eq=False)
class HotellingObserver:
    """The optimal linear observer of the channel outputs.

    Args:
        channels: Channels, ``(C, h, w)``.
        template: Weight of each channel, ``(C,)``.
    """

    channels: NDArray[np.float64]
    template: NDArray[np.float64]

    @classmethod
    def fit(cls, present: Images, absent: Images, channels: NDArray[np.float64]) -> HotellingObserver:
        """Return the observer fitted to patches: ``w = S^-1 (mean present - mean absent)``.

        Args:
            present: Patches with a lesion, ``(n, h, w)``.
            absent: Patches without a lesion, ``(m, h, w)``.
            channels: Channels, ``(C, h, w)``.
        Raises:
            ValueError: If n or m is not larger than the number of channels.
        """
        if min(len(present), len(absent)) <= len(channels):
            raise ValueError(
                f"got {len(present)} patches with and {len(absent)} without a lesion;"
                f" expected more than {len(channels)} of each, the number of channels"
            )
        present_outputs, absent_outputs = (_channel_outputs(images, channels) for images in (present, absent))
        covariance = (np.cov(present_outputs, rowvar=False) + np.cov(absent_outputs, rowvar=False)) / 2
        covariance = covariance + RIDGE * np.trace(covariance) / len(channels) * np.eye(len(channels))
        return cls(channels, np.linalg.solve(covariance, present_outputs.mean(0) - absent_outputs.mean(0)))

    def scores(self, images: Images) -> NDArray[np.float64]:
        """Return the test statistic for a lesion in each of ``images (n, h, w)``, ``(n,)``; larger is more certain."""
        return _channel_outputs(images, self.channels) @ self.template

    def search(self, image: Images, least: float = 1e-6) -> NDArray[np.float64]:
        """Return the test statistic of the patch around each pixel, divided by the patch mean, ``(H, W)``.

        Pixels outside the image count as 0.

        Args:
            image: Image, ``(H, W)``.
            least: Smallest patch mean to divide by, for places without counts.
        """
        values, kernel = np.asarray(image, np.float64), np.tensordot(self.template, self.channels, 1)
        means = uniform_filter(values, len(kernel), mode="constant")
        return fftconvolve(values, kernel[::-1, ::-1], mode="same") / np.maximum(means, least)


def find_peaks(certainty: NDArray[np.float64], threshold: float, reach: int) -> NDArray[np.int64]:
    """Return the places ``(n, 2)`` above `threshold` that are the maximum within `reach` pixels."""
    highest = maximum_filter(certainty, 2 * reach + 1)
    return np.argwhere((certainty == highest) & (certainty > threshold))


def detectability(present: Images, absent: Images, channels: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: an observer is fitted to each half of the patches and scores the other half.

    Args:
        present: Patches with a lesion at the centre, ``(n, h, w)``.
        absent: Patches without a lesion, in an order independent of their content, ``(m, h, w)``.
        channels: Channels, ``(C, h, w)``.
    """
    areas = []
    for half in (0, 1):
        observer = HotellingObserver.fit(present[half::2], absent[half::2], channels)
        areas.append(area_under_roc(observer.scores(present[1 - half :: 2]), observer.scores(absent[1 - half :: 2])))
    return float(np.mean(areas))


def area_under_roc(present: NDArray[np.floating], absent: NDArray[np.floating]) -> float:
    """Return the share of pairs (present, absent) scored in the right order; a tie counts half."""
    apart = np.sign(present[:, None] - absent[None])
    return float((1 + apart.mean()) / 2)


def _channel_outputs(images: Images, channels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(images, np.float64).reshape(len(images), -1) @ channels.reshape(len(channels), -1).T
