"""Prediction over a volume: windows with Gaussian-weighted overlap, one slab of it in memory at a time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from lib.models.engine import Engine
from lib.ops.resample import running_argmax

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
SIGMA_SCALE = 0.125
WEIGHT_FLOOR = 1e-3


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
def window_weights(size: int, window: int, overlap: float) -> tuple[tuple[int, torch.Tensor], ...]:
    """Return the windows that cover an axis: where each starts, and its weights ``(window,)``.

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
        return tuple((start, bell / total[start : start + window]) for start in starts)


class Predictor:
    """Run a network over a prepared volume.

    With a 2-D `roi` the network is 2.5-D: each axial slice (the last axis) is an image whose channels are the slices at
    `slice_offsets` from it, the edge slice repeated beyond the volume. A slice up to `whole_slice_factor` times the roi
    goes through whole, a larger one in windows.

    Args:
        network: Logits ``(B, K, *S)`` from ``(B, C, *S)`` in evaluation mode, of any ``S``.
        roi: Window in samples, two axes or three.
        slice_offsets: Offsets of a 2.5-D network's channels, in slices.
        overlap: Least fraction that neighbouring windows share, in [0, 1).
        batch_size: Images a forward pass takes, see `Engine`; also the slices of a 2.5-D slab.
        device: Where the network runs.
        whole_slice_factor: How many times the roi a slice may be and still run whole; 2.5-D only.
    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        roi: tuple[int, ...],
        slice_offsets: tuple[int, ...] = (0,),
        overlap: float = 0.25,
        batch_size: int | None = None,
        device: str | torch.device = "cpu",
        whole_slice_factor: float = 1.6,
    ) -> None:
        if len(roi) not in (2, 3) or min(roi) < 1:
            raise ValueError(f"roi needs two or three positive sizes, got {roi}")
        if not 0.0 <= overlap < 1.0:
            raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
        if (batch_size is not None and batch_size < 1) or not slice_offsets:
            raise ValueError("batch_size must be positive and slice_offsets not empty")
        self.engine = Engine(network, device, batch_size)
        self.network = network
        self.roi, self.slice_offsets = tuple(roi), tuple(slice_offsets)
        self.overlap, self.whole_slice_factor = overlap, whole_slice_factor
        # Windows are stitched where the network runs, as long as there is room.
        self.stitched_on = torch.device(device)

    def logits(self, volume: torch.Tensor, progress: Progress | None = None) -> torch.Tensor:
        """Return the logits ``(K, X, Y, Z)``, float32 on the CPU, of a prepared volume ``(1, X, Y, Z)``."""
        result = None
        for start, slab in self.slabs(volume, progress):
            if result is None:
                result = torch.empty(slab.shape[0], *volume.shape[1:])
            result[..., start : start + slab.shape[-1]] = slab
        assert result is not None
        return result

    def labels(self, volume: torch.Tensor, progress: Progress | None = None) -> torch.Tensor:
        """Return the label of every voxel, holding the logits of one slab at a time.

        Args:
            volume: Prepared (windowed to [0, 1], RAS), ``(1, X, Y, Z)``.
            progress: Called with (slices done, slices in all) after each slab.
        Returns:
            uint8 ``(X, Y, Z)`` on the CPU.
        Raises:
            ValueError: If `volume` has another shape or is empty.
        """
        result = torch.zeros(volume.shape[1:], dtype=torch.uint8)
        for start, slab in self.slabs(volume, progress):
            result[..., start : start + slab.shape[-1]] = running_argmax(slab)
        return result

    def slabs(
        self, volume: torch.Tensor, progress: Progress | None = None, notes: list[str] | None = None
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the logits slab by slab, float32 on the CPU.

        Args:
            volume: Prepared (windowed to [0, 1], RAS), ``(1, X, Y, Z)``.
            progress: Called with (slices done, slices in all) after each slab.
            notes: Told what had to be done where memory ran out.
        Yields:
            The slice a slab starts at, and its logits ``(K, X, Y, n)``; in order, without gap or overlap. The next slab
            may overwrite them.
        Raises:
            ValueError: If `volume` has another shape or is empty.
            torch.OutOfMemoryError: If one window does not fit into the device's memory.
        """
        if volume.ndim != 4 or volume.shape[0] != 1 or 0 in volume.shape:
            raise ValueError(f"a volume is (1, X, Y, Z) and not empty, got {tuple(volume.shape)}")
        notes = [] if notes is None else notes
        slabs = self._slice_slabs(volume[0], notes) if len(self.roi) == 2 else self._window_slabs(volume, notes)
        was_training = self.network.training
        self.network.eval()
        try:
            for start, slab in slabs:
                yield start, slab.cpu()
                if progress is not None:
                    progress(start + slab.shape[-1], volume.shape[-1])
        finally:
            self.network.train(was_training)

    def _slice_slabs(self, volume: torch.Tensor, notes: list[str]) -> Iterator[tuple[int, torch.Tensor]]:
        offsets = torch.tensor(self.slice_offsets)
        slices = volume.movedim(-1, 0)
        count = self.engine.batch(slices[offsets.clamp(0, len(slices) - 1)])
        whole = all(
            size <= self.whole_slice_factor * side for size, side in zip(volume.shape[:2], self.roi, strict=True)
        )
        start = 0
        while start < len(slices):
            centres = torch.arange(start, min(start + count, len(slices)))
            images = slices[(centres[:, None] + offsets).clamp_(0, len(slices) - 1)]
            logits = self.engine(images, notes) if whole else self._stitched(self._blend, notes, images)
            yield start, logits.permute(1, 2, 3, 0)
            start += len(centres)

    def _stitched(self, stitch: Callable[..., torch.Tensor], notes: list[str], *inputs: Any) -> torch.Tensor:
        """Return what `stitch` makes of its inputs, on the CPU where the device has no room for it."""
        try:
            return stitch(*inputs, notes)
        except torch.OutOfMemoryError:
            if self.stitched_on.type == "cpu":
                raise
        self.stitched_on = torch.device("cpu")
        notes.append("memory ran out: windows are put together on the processor")
        return stitch(*(each.cpu() if isinstance(each, torch.Tensor) else each for each in inputs), notes)

    def _blend(self, images: torch.Tensor, notes: list[str]) -> torch.Tensor:
        """Return the logits ``(B, K, X, Y)`` of images larger than a window."""
        total = None
        for window, weight in self._windows(images.shape[2:]):
            logits = self.engine(images[(..., *window)], notes).to(self.stitched_on)
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], *images.shape[2:])
            total[(..., *window)].addcmul_(logits, weight.to(logits.device))
        assert total is not None
        return total

    def _window_slabs(self, volume: torch.Tensor, notes: list[str]) -> Iterator[tuple[int, torch.Tensor]]:
        """Blend 3-D windows layer by layer along the last axis, in one slab that moves along."""
        shape = volume.shape[1:]
        depth = min(self.roi[-1], shape[-1])
        layers = window_weights(shape[-1], depth, self.overlap)
        following = [start for start, _ in layers[1:]] + [shape[-1]]
        total = None
        for (start, along), after in zip(layers, following, strict=True):
            layer = self._stitched(self._layer, notes, volume[..., start : start + depth], along)
            # Adding to the slab comes last, so that a layer that failed half-way has left nothing in it.
            total = layer if total is None else total.to(layer.device).add_(layer)
            done = min(after - start, depth)
            yield start, total[..., :done]
            kept = total[..., done:].clone()
            total[..., : depth - done] = kept
            total[..., depth - done :] = 0

    def _layer(self, volume: torch.Tensor, along: torch.Tensor, notes: list[str]) -> torch.Tensor:
        """Return the logits ``(K, X, Y, n)`` of one layer of windows, weighted by `along` on the last axis."""
        total = None
        windows = self._windows(volume.shape[1:3])
        size = self.engine.batch(volume[(slice(None), *windows[0][0])])
        for batch in _batches(windows, size):
            outputs = self.engine(torch.stack([volume[(slice(None), *window)] for window, _ in batch]), notes)
            for (window, weight), logits in zip(batch, outputs.to(self.stitched_on), strict=True):
                if total is None:
                    total = logits.new_zeros(len(logits), *volume.shape[1:])
                weights = (weight.unsqueeze(-1) * along).to(logits.device)
                total[(slice(None), *window)].addcmul_(logits, weights)
        assert total is not None
        return total

    def _windows(self, shape: Sequence[int]) -> list[tuple[tuple[slice, ...], torch.Tensor]]:
        """Return the windows over the first two axes and their weights ``(x, y)``."""
        sides = [min(size, side) for size, side in zip(shape, self.roi, strict=False)]
        axes = [window_weights(size, side, self.overlap) for size, side in zip(shape, sides, strict=True)]
        return [
            ((slice(x, x + sides[0]), slice(y, y + sides[1])), across.unsqueeze(-1) * down)
            for (x, across), (y, down) in itertools.product(*axes)
        ]


def _batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
