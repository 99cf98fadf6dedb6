"""Class of the largest logit, at the samples of a grid or between them, without an array of probabilities."""

from dataclasses import dataclass

import torch

from lib.ops.native import slab as native


def running_argmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the class of the largest logit, several times faster than ``argmax(0)``.

    Args:
        logits: ``(K, *S)``.
    Returns:
        uint8 ``(*S)``; of equal logits the first class.
    """
    best = logits[0].clone()
    label = torch.zeros_like(best, dtype=torch.uint8)
    for index in range(1, logits.shape[0]):
        label.masked_fill_(logits[index] > best, index)
        torch.maximum(best, logits[index], out=best)
    return label


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions of n new samples between the old samples of one axis.

    Args:
        low: Index of the old sample at or below each position, int64 ``(n,)``.
        fraction: Distance from `low` towards the next old sample, float32 ``(n,)`` in [0, 1].
        size: Number of old samples.
    """

    low: torch.Tensor
    fraction: torch.Tensor
    size: int

    @classmethod
    def at(cls, positions: torch.Tensor, size: int) -> "Positions":
        """Return `Positions` for coordinates on the axis.

        Args:
            positions: Coordinates in old samples, ``(n,)``; a coordinate outside the axis takes its end.
            size: Number of old samples.
        """
        inside = positions.double().clamp(0, size - 1)
        low = inside.long().clamp_max(max(size - 2, 0))
        return cls(low, (inside - low).float(), size)

    @property
    def high(self) -> torch.Tensor:
        """Index of the old sample above each position, int64 ``(n,)``."""
        return (self.low + 1).clamp_max(self.size - 1)

    @property
    def nearest(self) -> torch.Tensor:
        """Index of the old sample nearest to each position, int64 ``(n,)``."""
        return torch.where(self.fraction > 0.5, self.high, self.low)


def interpolated_argmax(
    below: torch.Tensor, above: torch.Tensor, fraction: float, rows: Positions, columns: Positions
) -> torch.Tensor:
    """Return the class of the largest linearly interpolated logit, in a slice between two others.

    Where the four samples around a position have the same class, every weighted mean of them has it too. So only the
    cells that a border between classes crosses, a few per cent, are interpolated. The result equals the result of
    interpolating every logit.

    Args:
        below: Logits of the slice below, ``(K, X, Y)``.
        above: Logits of the slice above, ``(K, X, Y)``.
        fraction: Distance of the slice from `below` towards `above`, in [0, 1].
        rows: Positions along X.
        columns: Positions along Y.
    Returns:
        uint8 ``(len(rows.low), len(columns.low))``.
    """
    if native.supports(below, above):
        return native.classes(below, above, fraction, (rows.low, rows.fraction), (columns.low, columns.fraction))
    return _interpolated_argmax(torch.lerp(below, above, fraction), rows, columns)


def _interpolated_argmax(logits: torch.Tensor, rows: Positions, columns: Positions) -> torch.Tensor:
    label = running_argmax(logits)
    # Repeat the edge, so that an axis of one sample has a cell as well.
    padded = torch.nn.functional.pad(label[None].float(), (0, 1, 0, 1), mode="replicate")[0].to(torch.uint8)
    corner = padded[:-1, :-1]
    mixed = (corner != padded[1:, :-1]) | (corner != padded[:-1, 1:]) | (corner != padded[1:, 1:])
    result = label[rows.nearest][:, columns.nearest]
    row, column = mixed[rows.low][:, columns.low].nonzero(as_tuple=True)
    flat, width = logits.reshape(len(logits), -1), logits.shape[2]
    top, bottom = rows.low[row] * width, rows.high[row] * width
    left, right = columns.low[column], columns.high[column]
    down, across = rows.fraction[row], columns.fraction[column]
    upper = torch.lerp(flat[:, top + left], flat[:, top + right], across)
    lower = torch.lerp(flat[:, bottom + left], flat[:, bottom + right], across)
    result[row, column] = running_argmax(torch.lerp(upper, lower, down))
    return result
