"""A slab: logits of consecutive slices, blended from overlapping windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.models.inference.engine import Engine
from lib.ops.windows import Span, add_window

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class WindowPosition:
    """Position of a window: its spans along X and Y, and along the slices (Z)."""

    x: Span
    y: Span
    z: Span


class Slab:
    """Logits of `depth` slices, blended on the device of the network, or on the CPU once that memory is too small.

    The memory of the slab is reused when the slab moves along the volume.

    Args:
        engine: Engine that runs the network.
        size: Samples along X and Y.
        depth: Number of slices.
        device: Initial device of the slab.
    """

    def __init__(self, engine: Engine, size: Sequence[int], depth: int, device: torch.device) -> None:
        self.engine, self.device = engine, device
        self._shape, self._memory = (depth, *size), None

    @property
    def logits(self) -> Tensor:
        """The logits, ``(K, X, Y, n)``; every slice is contiguous in memory."""
        assert self._memory is not None, "no window has been added"
        return self._memory.permute(1, 2, 3, 0)

    def add(self, images: Tensor, positions: Sequence[WindowPosition], notes: list[str]) -> None:
        """Run the network on windows and add their logits to the slab.

        Args:
            images: B windows ``(B, C, x, y, z)`` for B positions, or n slices ``(n, C, x, y)`` for one position.
            positions: Positions of the windows; windows must be added in order, with the last axis slowest.
            notes: List that receives a message when memory runs out.
        Raises:
            torch.OutOfMemoryError: If the memory of the device is too small for one window.
        """
        remaining = list(positions)
        try:
            return self._add(images, remaining, notes)
        except torch.OutOfMemoryError:
            if self.device == CPU:
                raise
        # Continue outside the except block, because its traceback holds the memory of the failed pass.
        self.device = CPU
        self._memory = None if self._memory is None else self._memory.cpu()
        notes.append("memory ran out: windows are put together on the processor")
        return self._add(images, remaining, notes)

    def _add(self, images: Tensor, remaining: list[WindowPosition], notes: list[str]) -> None:
        """Add windows, and remove their positions from the list, so that a call that failed half-way can continue."""
        logits = self.engine(images, notes).to(self.device)
        windows = [*logits] if logits.ndim == 5 else [logits.permute(1, 2, 3, 0)]
        if self._memory is None:
            depth, *size = self._shape
            self._memory = logits.new_empty(depth, len(windows[0]), *size)
        for window in windows[len(windows) - len(remaining) :]:
            position = remaining[0]
            spans = (position.x, position.y, position.z)
            target = self.logits[:, position.x.side, position.y.side]
            add_window(target, window, [span.weights for span in spans], [span.overlap for span in spans])
            remaining.pop(0)

    def advance(self, count: int) -> None:
        """Remove the first `count` slices and move the other slices to the start."""
        assert self._memory is not None
        for target, source in zip(self._memory, self._memory[count:], strict=False):
            target.copy_(source)
