"""Map the stored intensities of an image to the range that a network expects, channel by channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject

if TYPE_CHECKING:  # programs that only draw or check an image start without torch
    from torch import Tensor

WINDOW, PERCENTILE, ZSCORE, UNIT = "window", "percentile", "zscore", "unit"
INTENSITIES = (WINDOW, PERCENTILE, ZSCORE, UNIT)
"""Accepted ways to map stored intensities.

``window``: two given intensities become 0 and 1. ``percentile``: the percentiles `PERCENTILES` of the image become 0
and 1. ``unit``: the range of the stored type becomes 0 to 1. These three are clamped. ``zscore``: the mean becomes 0
and the standard deviation 1, without clamping.
"""
PERCENTILES = (0.5, 99.5)
USUAL_SD = 2.0
"""Standard deviations on each side of the mean that count as the usual range of a ``zscore`` image."""
SAMPLES = 1_000_000
"""Largest number of voxels from which the statistics of an image are computed."""
MIN_OBJECT_FRACTION = 0.01
"""Least fraction of voxels above the lowest value for statistics that leave the lowest value out."""


@dataclass(frozen=True)
class Scale:
    """A linear map of one channel's intensities.

    Changes of training patches are made in units of the *usual range*, which is the same for every modality.

    Args:
        low: Stored intensity at the lower end of the usual range.
        high: Stored intensity at the upper end; below `low` for an inverted image.
        standardised: Whether the network expects mean 0 and standard deviation 1 in place of [0, 1].
        missing: Whether the image lacks the channel: the network receives 0 everywhere.
    """

    low: float
    high: float
    standardised: bool = False
    missing: bool = False

    def usual(self, intensities: "Tensor") -> "Tensor":
        """Return intensities in units of the usual range: its ends become 0 and 1; nothing is clamped."""
        return (intensities - self.low) / (self.high - self.low)

    def finish(self, usual: "Tensor") -> "Tensor":
        """Return what the network expects from intensities in units of the usual range, in the same memory."""
        if self.missing:
            return usual.zero_()
        if self.standardised:
            return usual.sub_(0.5).mul_(2 * USUAL_SD)
        return usual.clamp_(0, 1)

    def __call__(self, intensities: "Tensor") -> "Tensor":
        """Return stored intensities as the network expects them, in new memory."""
        return self.finish(self.usual(intensities))


def fit_scale(
    voxels: NDArray[Any], intensity: str, window: Sequence[float] = (0.0, 1.0), stored_bytes: int | None = None
) -> Scale:
    """Return the map of one channel of an image.

    The statistics of ``percentile`` and ``zscore`` leave out the lowest value, which is the background of an image
    that was masked or padded.

    Args:
        voxels: Intensities of the channel, in any shape.
        intensity: One of `INTENSITIES`.
        window: The two intensities of ``window``.
        stored_bytes: Bytes of one stored value, for ``unit``; None takes them from the array.
    Raises:
        InputRejected: INTENSITY_RANGE if ``unit`` is asked of floats outside [0, 1].
    """
    if intensity == WINDOW:
        return Scale(float(window[0]), float(window[1]))
    if intensity == UNIT:
        return Scale(0.0, _largest_stored(voxels, stored_bytes))
    values = _object(voxels)
    if intensity == PERCENTILE:
        low, high = (float(value) for value in np.percentile(values, PERCENTILES))
        return Scale(low, high if high > low else low + 1.0)
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)) or 1.0
    return Scale(mean - USUAL_SD * sd, mean + USUAL_SD * sd, standardised=True)


def apply_scales(intensities: "Tensor", scales: Sequence[Scale]) -> "Tensor":
    """Return the channels ``(C, ...)`` as the network expects them, each by its own map, in new memory."""
    if len(scales) == 1:
        return scales[0](intensities)
    import torch

    return torch.stack([scale(channel) for scale, channel in zip(scales, intensities, strict=True)])


def _object(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return at most about `SAMPLES` values, evenly spread, without the lowest if it is only background."""
    stride = max(1, ceil((voxels.size / SAMPLES) ** (1 / max(1, sum(n > 1 for n in voxels.shape)))))
    values = voxels[tuple(slice(None, None, stride) for _ in voxels.shape)].ravel()
    above = values[values > values.min()]
    return above if above.size >= MIN_OBJECT_FRACTION * values.size and above.size else values


def _largest_stored(voxels: NDArray[Any], stored_bytes: int | None) -> float:
    size = stored_bytes or voxels.dtype.itemsize
    low, high = float(voxels.min()), float(voxels.max())
    if size <= 2 and low >= 0:
        return 255.0 if size == 1 else 65535.0
    if low < 0 or high > 1:
        reason = (
            f"Values run from {low:g} to {high:g}; this task takes 8-bit, 16-bit or [0, 1] images (intensity unit)."
        )
        raise reject("INTENSITY_RANGE", reason, "Send the image as it was recorded, or scale it to [0, 1].")
    return 1.0
