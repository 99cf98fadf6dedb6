"""Prediction over a volume: windows with Gaussian-weighted overlap, one slab of it in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.inference.engine import Engine
from lib.models.inference.slab import Place, Slab
from lib.ops.resample import running_argmax
from lib.ops.windows import Span, spans

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
WHOLE = 1.6
"""How many times the roi a slice may be and still run whole."""


class Predictor:
    """Run a network over a prepared volume.

    With a 2-D `roi` the network is 2.5-D: each axial slice (the last axis) is an image whose channels are the slices at
    `slice_offsets` from it, the edge slice repeated beyond the volume. A slice up to `WHOLE` times the roi goes through
    whole, a larger one in windows.

    Args:
        network: Logits ``(B, K, *S)`` from ``(B, C, *S)`` in evaluation mode, of any ``S``, or of the roi alone.
        roi: Window in samples, two axes or three.
        slice_offsets: Offsets of a 2.5-D network's channels, in slices.
        overlap: Least fraction that neighbouring windows share, in [0, 1).
        batch_size: Images a forward pass takes, see `Engine`; also the slices of a 2.5-D slab.
        device: Where the network runs.
        fixed: Whether the network takes nothing but windows of the roi's size.
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
            raise ValueError(f"roi needs two or three positive sizes, got {roi}")
        if not 0.0 <= overlap < 1.0:
            raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
        if (batch_size is not None and batch_size < 1) or not slice_offsets:
            raise ValueError("batch_size must be positive and slice_offsets not empty")
        self.engine = Engine(network, device, batch_size)
        self.network = network
        self.roi, self.slice_offsets = tuple(roi), tuple(slice_offsets)
        self.overlap, self.fixed = overlap, fixed
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
        notes, size = [] if notes is None else notes, volume.shape[1:]
        if self.fixed:
            volume = _at_least(volume, self.roi)
        slabs = self._slice_slabs(volume[0], notes) if len(self.roi) == 2 else self._window_slabs(volume, notes)
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
        most = 1.0 if self.fixed else WHOLE
        whole = all(size <= most * side for size, side in zip(volume.shape[:2], self.roi, strict=True))
        first = slices[offsets.clamp(0, len(slices) - 1)]
        # Its memory is asked of what goes through the network: a window of a slice that is larger.
        count = self.engine.batch(first if whole else first[:, : self.roi[0], : self.roi[1]])
        start = 0
        while start < len(slices):
            centres = torch.arange(start, min(start + count, len(slices)))
            images = slices[(centres[:, None] + offsets).clamp_(0, len(slices) - 1)]
            yield start, self.engine(images, notes).permute(1, 2, 3, 0) if whole else self._blend(images, notes)
            start += len(centres)

    def _blend(self, images: torch.Tensor, notes: list[str]) -> torch.Tensor:
        """Return the logits ``(K, X, Y, n)`` of slices larger than a window."""
        slab = Slab(self.engine, images.shape[2:], len(images), self.stitched_on)
        for place in self._places(images.shape[2:], Span(0, torch.ones(len(images)), 0)):
            slab.add(images[..., place.x.side, place.y.side], [place], notes)
        self.stitched_on = slab.device
        return slab.logits

    def _window_slabs(self, volume: torch.Tensor, notes: list[str]) -> Iterator[tuple[int, torch.Tensor]]:
        """Blend 3-D windows layer by layer along the last axis, in one slab that moves along."""
        *size, length = volume.shape[1:]
        depth = min(self.roi[-1], length)
        slab = Slab(self.engine, size, depth, self.stitched_on)
        layers, inputs = spans(length, depth, self.overlap), volume.new_empty(0)
        for layer, after in zip(layers, [*(each.start for each in layers[1:]), length], strict=True):
            places = self._places(size, layer)
            images = [volume[:, place.x.side, place.y.side, layer.side] for place in places]
            for batch in _batches(list(zip(images, places, strict=True)), self.engine.batch(images[0])):
                # In one memory again and again: a fresh one of this size costs more than what is written to it.
                torch.stack([image for image, _ in batch], out=inputs.resize_(len(batch), *images[0].shape))
                slab.add(inputs, [place for _, place in batch], notes)
            self.stitched_on = slab.device
            done = min(after - layer.start, depth)
            yield layer.start, slab.logits[..., :done]
            slab.move(done)

    def _places(self, size: Sequence[int], z: Span) -> list[Place]:
        """Return the windows over the first two axes, in some slices."""
        x, y = (spans(n, min(n, side), self.overlap) for n, side in zip(size, self.roi, strict=False))
        return [Place(*across, z) for across in itertools.product(x, y)]


def _at_least(volume: torch.Tensor, roi: tuple[int, ...]) -> torch.Tensor:
    """Return a volume ``(1, X, Y, Z)`` grown to a window, its edges repeated."""
    missing = [max(0, side - size) for side, size in zip(roi, volume.shape[1:], strict=False)]
    if not any(missing):
        return volume
    pad = [0, missing[2] if len(missing) == 3 else 0, 0, missing[1], 0, missing[0]]
    return F.pad(volume[None], pad, mode="replicate")[0]


def _batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
