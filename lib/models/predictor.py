"""Prediction over a volume: windows with Gaussian-weighted overlap, one slab of it in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from lib.ops.resample import running_argmax

Progress = Callable[[int, int], None]
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


def gaussian_weight(shape: Sequence[int]) -> torch.Tensor:
    """Return a window's weights, 1 at its centre and never below a floor, so that no voxel is divided by zero."""
    weight = torch.ones(())
    for size in shape:
        distance = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2) / (SIGMA_SCALE * size)
        weight = weight.unsqueeze(-1) * torch.exp(-0.5 * distance**2)
    return weight.clamp_min(WEIGHT_FLOOR)


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
        batch_size: Images a forward pass takes; also the slices of a 2.5-D slab.
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
        batch_size: int = 4,
        device: str | torch.device = "cpu",
        whole_slice_factor: float = 1.6,
    ) -> None:
        if len(roi) not in (2, 3) or min(roi) < 1:
            raise ValueError(f"roi needs two or three positive sizes, got {roi}")
        if not 0.0 <= overlap < 1.0:
            raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
        if batch_size < 1 or not slice_offsets:
            raise ValueError("batch_size must be positive and slice_offsets not empty")
        self.network = network.to(device)
        self.roi, self.slice_offsets = tuple(roi), tuple(slice_offsets)
        self.overlap, self.batch_size = overlap, batch_size
        self.device, self.whole_slice_factor = torch.device(device), whole_slice_factor

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

    def slabs(self, volume: torch.Tensor, progress: Progress | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the logits slab by slab, float32 on the CPU.

        Args:
            volume: Prepared (windowed to [0, 1], RAS), ``(1, X, Y, Z)``.
            progress: Called with (slices done, slices in all) after each slab.
        Yields:
            The slice a slab starts at, and its logits ``(K, X, Y, n)``; in order, without gap or overlap.
        Raises:
            ValueError: If `volume` has another shape or is empty.
        """
        if volume.ndim != 4 or volume.shape[0] != 1 or 0 in volume.shape:
            raise ValueError(f"a volume is (1, X, Y, Z) and not empty, got {tuple(volume.shape)}")
        slabs = self._slice_slabs(volume[0]) if len(self.roi) == 2 else self._window_slabs(volume)
        was_training = self.network.training
        self.network.eval()
        try:
            for start, slab in slabs:
                yield start, slab
                if progress is not None:
                    progress(start + slab.shape[-1], volume.shape[-1])
        finally:
            self.network.train(was_training)

    def _slice_slabs(self, volume: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        offsets = torch.tensor(self.slice_offsets)
        slices = volume.movedim(-1, 0)
        whole = all(
            size <= self.whole_slice_factor * side for size, side in zip(volume.shape[:2], self.roi, strict=True)
        )
        for start in range(0, len(slices), self.batch_size):
            centres = torch.arange(start, min(start + self.batch_size, len(slices)))
            images = slices[(centres[:, None] + offsets).clamp_(0, len(slices) - 1)]
            logits = self._forward(images) if whole else self._blend(images)
            yield start, logits.permute(1, 2, 3, 0)

    def _blend(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(B, K, X, Y)`` of images larger than a window."""
        total, weights = None, torch.zeros(images.shape[2:])
        weight, windows = self._windows(images.shape[2:])
        for window in windows:
            logits = self._forward(images[(..., *window)])
            if total is None:
                total = torch.zeros(*logits.shape[:2], *images.shape[2:])
            total[(..., *window)] += logits * weight
            weights[window] += weight
        assert total is not None
        return total.div_(weights)

    def _window_slabs(self, volume: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Blend 3-D windows layer by layer along the last axis, and let go of what no later layer meets."""
        shape = volume.shape[1:]
        depth = min(self.roi[-1], shape[-1])
        starts = window_starts(shape[-1], depth, self.overlap)
        total, weights = None, torch.zeros(*shape[:2], depth)
        for start, following in itertools.zip_longest(starts, starts[1:], fillvalue=shape[-1]):
            layer = self._layer(volume[..., start : start + depth], weights)
            total = layer if total is None else total.add_(layer)
            done = min(following - start, depth)
            yield start, total[..., :done] / weights[..., :done]
            total, weights = _shift(total, done), _shift(weights, done)

    def _layer(self, volume: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return the weighted logits ``(K, X, Y, n)`` of one layer of windows, and add their weights to `weights`."""
        weight, windows = self._windows(volume.shape[1:])
        total = None
        for first in range(0, len(windows), self.batch_size):
            batch = windows[first : first + self.batch_size]
            outputs = self._forward(torch.stack([volume[(..., *window)] for window in batch]))
            for window, logits in zip(batch, outputs, strict=True):
                if total is None:
                    total = torch.zeros(len(logits), *volume.shape[1:])
                total[(..., *window)] += logits * weight
                weights[window] += weight
        assert total is not None
        return total

    def _windows(self, shape: Sequence[int]) -> tuple[torch.Tensor, list[tuple[slice, ...]]]:
        sides = [min(size, side) for size, side in zip(shape, self.roi, strict=True)]
        starts = [window_starts(size, side, self.overlap) for size, side in zip(shape, sides, strict=True)]
        corners = itertools.product(*starts)
        windows = [tuple(slice(s, s + side) for s, side in zip(corner, sides, strict=True)) for corner in corners]
        return gaussian_weight(sides), windows

    @torch.inference_mode()
    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.to(self.device)).float().cpu()


def _shift(slab: torch.Tensor, count: int) -> torch.Tensor:
    """Drop the first `count` slices and append as many of zeros."""
    shifted = torch.zeros_like(slab)
    shifted[..., : slab.shape[-1] - count] = slab[..., count:]
    return shifted
