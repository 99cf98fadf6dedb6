"""Exchange the classes of a mirrored label, because a left-right reflection turns each side into the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

LABEL_VALUES = 256
"""Number of values of a uint8 label."""


@dataclass(frozen=True)
class Mirroring:
    """The classes that a reflection along the right-left axis exchanges; no other axis is mirrored.

    A place that may mirror takes a `Mirroring`, or None if it must not mirror.

    Args:
        pairs: Pairs of classes that are each other's mirror image. A class without a pair keeps its value.
    """

    pairs: tuple[tuple[int, int], ...] = ()

    def exchange_labels(self, label: Tensor) -> Tensor:
        """Return the label of an image that was mirrored.

        Args:
            label: Label in the orientation of the mirrored image, uint8 of any shape.
        """
        return self._order(LABEL_VALUES).to(torch.uint8)[label.long()] if self.pairs else label

    def exchange_channels(self, logits: Tensor, axis: int) -> Tensor:
        """Return the logits of an image that was mirrored, or mirrored back.

        Args:
            logits: Logits in the orientation of the image, with one channel per class, background included.
            axis: Axis of the channels.
        """
        if not self.pairs:
            return logits
        return logits.index_select(axis, self._order(logits.shape[axis]).to(logits.device))

    def _order(self, count: int) -> Tensor:
        """Return the class that takes the place of each class, ``(count,)``."""
        order = torch.arange(count)
        for one, other in self.pairs:
            order[one], order[other] = other, one
        return order
