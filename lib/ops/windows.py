"""Windows that cover an array: where they start, how much each weighs, and their sum."""

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
        start: Its first sample.
        weights: Of its samples, float32 ``(window,)``.
        fresh: Where in it the windows before it end.
    """

    start: int
    weights: Tensor
    fresh: int

    @property
    def side(self) -> slice:
        """The samples it covers."""
        return slice(self.start, self.start + len(self.weights))


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Return evenly spread starts of windows that cover an axis.

    Args:
        size: Samples of the axis.
        window: Samples of a window, at most `size`.
        overlap: Least fraction that neighbouring windows share, in [0, 1).
    """
    step = max(int(window * (1.0 - overlap)), 1)
    count = -(-(size - window) // step) + 1
    return [round(i * (size - window) / max(count - 1, 1)) for i in range(count)]


@functools.lru_cache(maxsize=64)
def spans(size: int, window: int, overlap: float) -> tuple[Span, ...]:
    """Return the windows that cover an axis, in order.

    The weights are a bell, and those of all windows add up to 1 at every sample. Windows over several axes take the
    products, which add up to 1 as well, so that nothing is left to divide by.

    Args:
        size: Samples of the axis.
        window: Samples of a window, at most `size`.
        overlap: Least fraction that neighbouring windows share, in [0, 1).
    """
    with torch.inference_mode(False):
        distance = (torch.arange(window, dtype=torch.float32) - (window - 1) / 2) / (SIGMA_SCALE * window)
        bell, total = torch.exp(-0.5 * distance**2).clamp_min(WEIGHT_FLOOR), torch.zeros(size)
        starts = window_starts(size, window, overlap)
        for start in starts:
            total[start : start + window] += bell
        before = [0, *(start + window for start in starts)]
        return tuple(
            Span(start, bell / total[start : start + window], end - start)
            for start, end in zip(starts, before, strict=False)
        )


def add_window(slab: Tensor, window: Tensor, weights: Sequence[Tensor], fresh: Sequence[int]) -> None:
    """Add a weighted window to its place in a slab, and write where no window has been: a slab needs no zeros.

    Args:
        slab: The place, ``(K, X, Y, Z)``; changed.
        window: ``(K, X, Y, Z)``, on the device of the slab.
        weights: ``(X,)``, ``(Y,)`` and ``(Z,)``; their products count.
        fresh: Where along X, Y and Z no other window has been; before that, along any axis, there has been one.
    Raises:
        torch.OutOfMemoryError: On a GPU, and then nothing was changed.
    """
    if native.serves(slab, window) and slab.stride(2) == 1:
        # What keeps its channels innermost, as some networks' answers do, is turned first.
        if 1 not in window.stride()[2:]:
            window = window.permute(3, 0, 1, 2).clone(memory_format=torch.contiguous_format).permute(1, 2, 3, 0)
        return native.blend(slab, window, weights, fresh)
    x, y, z = (each.to(slab.device) for each in weights)
    product = x[:, None, None] * y[:, None] * z
    slab[:, fresh[0] :, fresh[1] :, fresh[2] :] = 0
    slab.addcmul_(window, product)
    return None
