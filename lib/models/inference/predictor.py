"""Predict a volume in overlapping windows with Gaussian weights, with one slab of logits in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.inference.engine import Engine
from lib.models.inference.slab import Slab, WindowPosition
from lib.ops.resample import running_argmax
from lib.ops.windows import Span, spans

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
MAX_WHOLE_RATIO = 1.6
"""Largest ratio of the size of a slice to the roi at which the slice is predicted as a whole."""


class Predictor:
    """Run a network on a prepared volume.

    With a 2-D `roi` the network is 2.5-D: its input for each axial slice (along the last axis) has the channels of the
    slices at `slice_offsets` from that slice, slice by slice, and the edge slice is repeated outside the volume. Slices
    of at most `MAX_WHOLE_RATIO` times the roi are predicted as a whole, larger slices in windows.

    Args:
        network: Maps images ``(B, C, *S)`` to logits ``(B, K, *S)``, for any ``S`` unless `fixed`.
        roi: Size of a window in samples, with two or three axes.
        slice_offsets: Offsets of the channels of a 2.5-D network, in slices.
        overlap: Smallest fraction of a window that its neighbour covers as well, in [0, 1).
        batch_size: Images per forward pass, as in `Engine`; also the number of slices in a 2.5-D slab.
        device: Device of the network.
        fixed: Whether the network accepts windows of the size of the roi only.
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
        fixed: bool = False,
    ) -> None:
        if len(roi) not in (2, 3) or min(roi) < 1:
            raise ValueError(f"roi must have two or three positive sizes, got {roi}")
        if not 0.0 <= overlap < 1.0:
            raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
        if (batch_size is not None and batch_size < 1) or not slice_offsets:
            raise ValueError(
                f"batch_size must be positive and slice_offsets not empty, got {batch_size} and {slice_offsets}"
            )
        self.engine = Engine(network, device, batch_size)
        self.network = network
        self.roi, self.slice_offsets = tuple(roi), tuple(slice_offsets)
        self.overlap, self.fixed = overlap, fixed
        # Windows are blended on the device of the network, unless its memory is too small.
        self.blend_device = torch.device(device)

    def logits(self, volume: torch.Tensor, progress: Progress | None = None) -> torch.Tensor:
        """Return the logits ``(K, X, Y, Z)``, float32 on the CPU, of a prepared volume ``(C, X, Y, Z)``."""
        result = None
        for start, slab in self.slabs(volume, progress):
            if result is None:
                result = torch.empty(slab.shape[0], *volume.shape[1:])
            result[..., start : start + slab.shape[-1]] = slab
        assert result is not None
        return result

    def labels(self, volume: torch.Tensor, progress: Progress | None = None) -> torch.Tensor:
        """Return the label of every voxel, with the logits of one slab at a time in memory.

        Args:
            volume: Prepared volume (`lib.data.pipeline.Reading.normalised`), ``(C, X, Y, Z)``.
            progress: Called after each slab with the number of finished slices and the number of all slices.
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
            volume: Prepared volume (`lib.data.pipeline.Reading.normalised`), ``(C, X, Y, Z)``.
            progress: Called after each slab with the number of finished slices and the number of all slices.
            notes: List that receives a message when memory runs out.
        Yields:
            Index of the first slice of a slab, and its logits ``(K, X, Y, n)``; in order, without gap or overlap. The
            next slab may overwrite the logits.
        Raises:
            ValueError: If `volume` has another shape or is empty.
            torch.OutOfMemoryError: If the memory of the device is too small for one window.
        """
        if volume.ndim != 4 or 0 in volume.shape:
            raise ValueError(f"a volume must be (C, X, Y, Z) and not empty, got {tuple(volume.shape)}")
        notes, size = [] if notes is None else notes, volume.shape[1:]
        if self.fixed:
            volume = _pad_to_roi(volume, self.roi)
        slabs = self._slice_slabs(volume, notes) if len(self.roi) == 2 else self._window_slabs(volume, notes)
        was_training = self.network.training
        self.network.eval()
        try:
            for start, slab in slabs:
                slab = slab[:, : size[0], : size[1], : size[2] - start]
                yield start, slab.cpu()
                if progress is not None:
                    progress(start + slab.shape[-1], size[2])
        finally:
            self.network.train(was_training)

    def _slice_slabs(self, volume: torch.Tensor, notes: list[str]) -> Iterator[tuple[int, torch.Tensor]]:
        offsets = torch.tensor(self.slice_offsets)
        slices = volume.movedim(-1, 0)
        size = slices.shape[2:]
        max_ratio = 1.0 if self.fixed else MAX_WHOLE_RATIO
        whole = all(size <= max_ratio * side for size, side in zip(size, self.roi, strict=True))
        first = slices[offsets.clamp(0, len(slices) - 1)].flatten(0, 1)
        # Choose the batch size for the actual input of the network, which for a larger slice is a window.
        count = self.engine.batch(first if whole else first[:, : self.roi[0], : self.roi[1]])
        start = 0
        while start < len(slices):
            centres = torch.arange(start, min(start + count, len(slices)))
            images = slices[(centres[:, None] + offsets).clamp_(0, len(slices) - 1)].flatten(1, 2)
            yield start, self.engine(images, notes).permute(1, 2, 3, 0) if whole else self._blend(images, notes)
            start += len(centres)

    def _blend(self, images: torch.Tensor, notes: list[str]) -> torch.Tensor:
        """Return the logits ``(K, X, Y, n)`` of n slices ``(n, C, X, Y)`` that are larger than a window."""
        slab = Slab(self.engine, images.shape[2:], len(images), self.blend_device)
        for position in self._window_positions(images.shape[2:], Span(0, torch.ones(len(images)), 0)):
            slab.add(images[..., position.x.side, position.y.side], [position], notes)
        self.blend_device = slab.device
        return slab.logits

    def _window_slabs(self, volume: torch.Tensor, notes: list[str]) -> Iterator[tuple[int, torch.Tensor]]:
        """Blend 3-D windows layer by layer along the last axis, in one slab that moves along the axis."""
        *size, length = volume.shape[1:]
        depth = min(self.roi[-1], length)
        slab = Slab(self.engine, size, depth, self.blend_device)
        layers, inputs = spans(length, depth, self.overlap), volume.new_empty(0)
        for layer, next_start in zip(layers, [*(following.start for following in layers[1:]), length], strict=True):
            positions = self._window_positions(size, layer)
            images = [volume[:, position.x.side, position.y.side, layer.side] for position in positions]
            for batch in _batches(list(zip(images, positions, strict=True)), self.engine.batch(images[0])):
                # Reuse one buffer, because allocating a new one of this size costs more than filling it.
                torch.stack([image for image, _ in batch], out=inputs.resize_(len(batch), *images[0].shape))
                slab.add(inputs, [position for _, position in batch], notes)
            self.blend_device = slab.device
            finished = min(next_start - layer.start, depth)
            yield layer.start, slab.logits[..., :finished]
            slab.advance(finished)

    def _window_positions(self, size: Sequence[int], z: Span) -> list[WindowPosition]:
        """Return the positions of windows that cover the first two axes, in the slices of `z`."""
        x, y = (spans(n, min(n, side), self.overlap) for n, side in zip(size, self.roi, strict=False))
        return [WindowPosition(*pair, z) for pair in itertools.product(x, y)]


def _pad_to_roi(volume: torch.Tensor, roi: tuple[int, ...]) -> torch.Tensor:
    """Pad a volume ``(C, X, Y, Z)`` to at least the size of a window by repeating its edges."""
    missing = [max(0, side - size) for side, size in zip(roi, volume.shape[1:], strict=False)]
    if not any(missing):
        return volume
    pad = [0, missing[2] if len(missing) == 3 else 0, 0, missing[1], 0, missing[0]]
    return F.pad(volume[None], pad, mode="replicate")[0]


def _batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
