"""Overlapping windows that cover an array: their starts, their weights and their weighted sum."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.ops.native import slab as native

SIGMA_SCALE = 0.125
WEIGHT_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Span:
    """A window along one axis.

    Args:
        start: Index of the first sample of the window.
        weights: Weights of the samples of the window, float32 ``(window,)``.
        overlap: Number of leading samples that earlier windows cover as well.
    """

    start: int
    weights: Tensor
    overlap: int

    @property
    def side(self) -> slice:
        """The samples that the window covers."""
        return slice(self.start, self.start + len(self.weights))


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Return the evenly spaced starts of windows that cover an axis.

    Args:
        size: Samples of the axis.
        window: Samples of a window, at most `size`.
        overlap: Smallest fraction of a window that its neighbour covers as well, in [0, 1).
    """
    step = max(int(window * (1.0 - overlap)), 1)
    count = -(-(size - window) // step) + 1
    return [round(i * (size - window) / max(count - 1, 1)) for i in range(count)]


@functools.lru_cache(maxsize=64)
def spans(size: int, window: int, overlap: float) -> tuple[Span, ...]:
    """Return the windows that cover an axis, in order.

    The weights of a window are a Gaussian, normalised so that the weights of all windows add up to 1 at every sample. A
    window over several axes is weighted by the products, which add up to 1 as well, so no division is needed at the
    end.

    Args:
        size: Samples of the axis.
        window: Samples of a window, at most `size`.
        overlap: Smallest fraction of a window that its neighbour covers as well, in [0, 1).
    """
    with torch.inference_mode(False):
        distance = (torch.arange(window, dtype=torch.float32) - (window - 1) / 2) / (SIGMA_SCALE * window)
        gaussian, total = torch.exp(-0.5 * distance**2).clamp_min(WEIGHT_FLOOR), torch.zeros(size)
        starts = window_starts(size, window, overlap)
        for start in starts:
            total[start : start + window] += gaussian
        previous_ends = [0, *(start + window for start in starts)]
        return tuple(
            Span(start, gaussian / total[start : start + window], end - start)
            for start, end in zip(starts, previous_ends, strict=False)
        )


def add_window(slab: Tensor, window: Tensor, weights: Sequence[Tensor], overlap: Sequence[int]) -> None:
    """Add a weighted window to a slab, and overwrite the samples that no earlier window covers.

    Because those samples are overwritten, the slab does not have to be filled with zeros first.

    Args:
        slab: The part of the slab that the window covers, ``(K, X, Y, Z)``; changed in place.
        window: ``(K, X, Y, Z)``, on the device of the slab.
        weights: Weights along X, Y and Z, ``(X,)``, ``(Y,)`` and ``(Z,)``; a sample is weighted by their product.
        overlap: Leading samples along X, Y and Z that earlier windows cover. The window is added where the index along
            any axis is below `overlap`, and written elsewhere.
    Raises:
        torch.OutOfMemoryError: If a GPU runs out of memory; the slab is then unchanged.
    """
    if native.supports(slab, window) and slab.stride(2) == 1:
        # The kernel needs Y or Z innermost, so copy a window that has its channels innermost.
        if 1 not in window.stride()[2:]:
            window = window.permute(3, 0, 1, 2).clone(memory_format=torch.contiguous_format).permute(1, 2, 3, 0)
        return native.blend(slab, window, weights, overlap)
    x, y, z = (axis_weights.to(slab.device) for axis_weights in weights)
    product = x[:, None, None] * y[:, None] * z
    slab[:, overlap[0] :, overlap[1] :, overlap[2] :] = 0
    slab.addcmul_(window, product)
    return None
