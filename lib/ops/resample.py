"""The class with the largest logit, on a grid or between its samples, without an array of probabilities."""

from dataclasses import dataclass

import torch

from lib.ops.native import slab as native


def running_argmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the class of the largest logit, uint8 ``S``, of ``(K, *S)``; several times faster than ``argmax(0)``."""
    best = logits[0].clone()
    label = torch.zeros_like(best, dtype=torch.uint8)
    for index in range(1, logits.shape[0]):
        label.masked_fill_(logits[index] > best, index)
        torch.maximum(best, logits[index], out=best)
    return label


@dataclass(frozen=True, eq=False)
class Positions:
    """Where new samples lie between the old ones of one axis.

    Args:
        low: int64 ``(n,)``, the old sample below; its right neighbour is the one above.
        share: float32 ``(n,)`` in [0, 1], how far towards the one above.
        size: Old samples.
    """

    low: torch.Tensor
    share: torch.Tensor
    size: int

    @classmethod
    def at(cls, positions: torch.Tensor, size: int) -> "Positions":
        """Return positions, in old samples, as pairs of neighbours; those outside the axis take its end."""
        inside = positions.double().clamp(0, size - 1)
        low = inside.long().clamp_max(max(size - 2, 0))
        return cls(low, (inside - low).float(), size)

    @property
    def high(self) -> torch.Tensor:
        """The old sample above, int64 ``(n,)``."""
        return (self.low + 1).clamp_max(self.size - 1)

    @property
    def nearest(self) -> torch.Tensor:
        """The nearest old sample, int64 ``(n,)``."""
        return torch.where(self.share > 0.5, self.high, self.low)


def interpolated_argmax(
    below: torch.Tensor, above: torch.Tensor, share: float, rows: Positions, columns: Positions
) -> torch.Tensor:
    """Return the class of the largest linearly interpolated logit, in a slice between two others.

    Where the four samples around a position agree on a class, so does every mean of them; only the cells that a border
    crosses, a few in a hundred, are interpolated. The result is that of interpolating every logit.

    Args:
        below: ``(K, X, Y)``.
        above: ``(K, X, Y)``.
        share: How far the slice lies towards `above`, in [0, 1].
        rows: Where along X.
        columns: Where along Y.
    Returns:
        uint8 ``(len(rows.low), len(columns.low))``.
    """
    if native.serves(below, above):
        return native.classes(below, above, share, (rows.low, rows.share), (columns.low, columns.share))
    return _interpolated_argmax(torch.lerp(below, above, share), rows, columns)


def _interpolated_argmax(logits: torch.Tensor, rows: Positions, columns: Positions) -> torch.Tensor:
    label = running_argmax(logits)
    # Pad by the edge, so that an axis of one sample has a cell as well.
    wide = torch.nn.functional.pad(label[None].float(), (0, 1, 0, 1), mode="replicate")[0].to(torch.uint8)
    corner = wide[:-1, :-1]
    mixed = (corner != wide[1:, :-1]) | (corner != wide[:-1, 1:]) | (corner != wide[1:, 1:])
    result = label[rows.nearest][:, columns.nearest]
    row, column = mixed[rows.low][:, columns.low].nonzero(as_tuple=True)
    flat, width = logits.reshape(len(logits), -1), logits.shape[2]
    top, bottom = rows.low[row] * width, rows.high[row] * width
    left, right = columns.low[column], columns.high[column]
    down, across = rows.share[row], columns.share[column]
    upper = torch.lerp(flat[:, top + left], flat[:, top + right], across)
    lower = torch.lerp(flat[:, bottom + left], flat[:, bottom + right], across)
    result[row, column] = running_argmax(torch.lerp(upper, lower, down))
    return result
