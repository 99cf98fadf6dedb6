"""Training set of a restoration network: random crops of rapid scans with their target counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lib.data.scintigraphy.thinning import thin

BODY_PROB = 0.9
"""Share of crops that are centred on a pixel with counts. The other crops lie anywhere."""


@dataclass(frozen=True, eq=False)
class TrainingCounts:
    """Counts of one patient for training.

    Args:
        counts: Integer counts ``(V, H, W)`` of a standard scan, or the sum of several scans on one grid.
        scans: Recording time in units of one standard scan; above 1 if the counts of a rapid scan are added.
    """

    counts: NDArray[Any]
    scans: float = 1.0


class CropDataset(Dataset[dict[str, Tensor]]):
    """Crops ``{"rapid", "target": (1, h, w) counts, "fraction", "target_fraction": (1, 1, 1)}``.

    Each crop is thinned at random, and its target is the complementary counts. The whole scan is not the target: it
    contains the rapid counts, so the network would learn to keep the noise of its input. Crop `index` of an epoch
    depends only on seed, epoch and index.

    Args:
        scans: Counts to crop; all are held in memory.
        fractions: Fractions of the counts of a standard scan; one is drawn at random for each crop.
        size: Side of a crop, in pixels.
        crops_per_epoch: Length of the dataset.
        seed: Seed of all random choices.
    Raises:
        ValueError: If there is no scan, or a fraction is not between 0 and 1.
    """

    def __init__(
        self,
        scans: Sequence[TrainingCounts],
        *,
        fractions: Sequence[float] = (0.5,),
        size: int = 128,
        crops_per_epoch: int = 256,
        seed: int = 0,
    ) -> None:
        if not scans:
            raise ValueError("there is no scan to draw crops from: give at least one")
        if not fractions or not all(0 < fraction < 1 for fraction in fractions):
            raise ValueError(f"fractions lie above 0 and below 1, got {tuple(fractions)}")
        self.scans, self.fractions, self.size = list(scans), tuple(fractions), size
        self.crops_per_epoch, self.seed, self.epoch = crops_per_epoch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Select the crops of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.crops_per_epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        scan = self.scans[int(rng.integers(len(self.scans)))]
        corner = self._draw_corner(scan.counts, rng)
        fraction = float(self.fractions[int(rng.integers(len(self.fractions)))])
        rapid, target = thin(self._crop(scan.counts, corner), fraction / scan.scans, rng)
        # Input and target are mirrored alike, and no label names a side.
        if rng.random() < 0.5:
            rapid, target = rapid[:, ::-1], target[:, ::-1]
        images = [torch.from_numpy(np.ascontiguousarray(part, np.float32))[None] for part in (rapid, target)]
        shares = [torch.full((1, 1, 1), share) for share in (fraction, scan.scans - fraction)]
        return dict(zip(("rapid", "target", "fraction", "target_fraction"), [*images, *shares], strict=True))

    def _draw_corner(self, counts: NDArray[Any], rng: np.random.Generator) -> tuple[int, int, int]:
        """Return view, first row and first column of a crop."""
        view = int(rng.integers(len(counts)))
        height, width = counts.shape[1:]
        if rng.random() < BODY_PROB and counts[view].any():
            where = np.flatnonzero(counts[view])
            row, column = divmod(int(where[int(rng.integers(len(where)))]), width)
        else:
            row, column = int(rng.integers(height)), int(rng.integers(width))
        first = [
            int(np.clip(at - self.size // 2, 0, max(side - self.size, 0)))
            for at, side in ((row, height), (column, width))
        ]
        return view, first[0], first[1]

    def _crop(self, counts: NDArray[Any], corner: tuple[int, int, int]) -> NDArray[Any]:
        view, row, column = corner
        part = counts[view, row : row + self.size, column : column + self.size]
        missing = [(0, self.size - side) for side in part.shape]
        return np.pad(part, missing) if np.any(missing) else part
