"""Some slices of logits, put together from windows of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.models.inference.engine import Engine
from lib.ops.windows import Span, add_window

PROCESSOR = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Place:
    """Where a window lies: its spans along X and Y, and along the slices."""

    x: Span
    y: Span
    z: Span


class Slab:
    """Logits of `depth` slices, put together where the network runs, or on the processor once there is no room.

    Its memory is filled by the first windows of each place and used again as it moves along.

    Args:
        engine: Runs the network.
        size: Samples along X and Y.
        depth: Slices.
        device: Where it lies at first.
    """

    def __init__(self, engine: Engine, size: Sequence[int], depth: int, device: torch.device) -> None:
        self.engine, self.device = engine, device
        self._shape, self._memory = (depth, *size), None

    @property
    def logits(self) -> Tensor:
        """``(K, X, Y, n)``; a slice lies in memory as a whole."""
        assert self._memory is not None, "no window has been added"
        return self._memory.permute(1, 2, 3, 0)

    def add(self, images: Tensor, places: Sequence[Place], notes: list[str]) -> None:
        """Run windows through the network and add what it answers.

        Args:
            images: ``(B, C, x, y, z)`` at as many places, or slices ``(n, C, x, y)`` at one.
            places: Where they lie; in the order of all windows, the last axis slowest.
            notes: Told what had to be done where memory ran out.
        Raises:
            torch.OutOfMemoryError: If one window does not fit into the device's memory.
        """
        left = list(places)
        try:
            return self._add(images, left, notes)
        except torch.OutOfMemoryError:
            if self.device == PROCESSOR:
                raise
        # Out of the handler, where the traceback would keep the failed pass's memory.
        self.device = PROCESSOR
        self._memory = None if self._memory is None else self._memory.cpu()
        notes.append("memory ran out: windows are put together on the processor")
        return self._add(images, left, notes)

    def _add(self, images: Tensor, left: list[Place], notes: list[str]) -> None:
        """Add windows, and strike each off the list, so that what fails half-way can go on."""
        answers = self.engine(images, notes).to(self.device)
        windows = [*answers] if answers.ndim == 5 else [answers.permute(1, 2, 3, 0)]
        if self._memory is None:
            depth, *size = self._shape
            self._memory = answers.new_empty(depth, len(windows[0]), *size)
        for window in windows[len(windows) - len(left) :]:
            place = left[0]
            spans = (place.x, place.y, place.z)
            target = self.logits[:, place.x.side, place.y.side]
            add_window(target, window, [span.weights for span in spans], [span.fresh for span in spans])
            left.pop(0)

    def move(self, done: int) -> None:
        """Drop the first slices; the others come to the beginning."""
        assert self._memory is not None
        for target, source in zip(self._memory, self._memory[done:], strict=False):
            target.copy_(source)
