"""The training set of a restorer: crops of rapid scans beside what they are to become, drawn anew in every epoch."""

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
"""Share of crops whose middle holds counts; the rest lie anywhere."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Counts to learn from.

    Args:
        counts: ``(V, H, W)``, integers: of a standard scan, or of several scans of one grid added up.
        scans: How many standard scans' time they were recorded in: above 1 where a rapid scan's are among them.
    """

    counts: NDArray[Any]
    scans: float = 1.0


class CropDataset(Dataset[dict[str, Tensor]]):
    """Crops ``{"rapid", "target": (1, h, w) counts, "fraction", "target_fraction": (1, 1, 1)}``.

    Every crop is thinned anew, and its target is the complementary counts: the whole scan holds the rapid one, and a
    network taught by it learns to keep the noise of its input. Crop `index` of an epoch depends on seed, epoch and
    index only.

    Args:
        lessons: The scans; all are held in memory.
        fractions: Of a standard scan's counts, to thin to; one drawn for each crop.
        size: Side of a crop, in pixels.
        crops_per_epoch: Length of the set.
        seed: Of everything random here.
    Raises:
        ValueError: If there is no scan, or a fraction cannot be.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        *,
        fractions: Sequence[float] = (0.5,),
        size: int = 128,
        crops_per_epoch: int = 256,
        seed: int = 0,
    ) -> None:
        if not lessons:
            raise ValueError("there is no scan to learn from")
        if not fractions or not all(0 < fraction < 1 for fraction in fractions):
            raise ValueError(f"fractions lie above 0 and below 1, got {tuple(fractions)}")
        self.lessons, self.fractions, self.size = list(lessons), tuple(fractions), size
        self.crops_per_epoch, self.seed, self.epoch = crops_per_epoch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.crops_per_epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        lesson = self.lessons[int(rng.integers(len(self.lessons)))]
        cut = self._cut(lesson.counts, rng)
        fraction = float(self.fractions[int(rng.integers(len(self.fractions)))])
        rapid, target = thin(self._crop(lesson.counts, cut), fraction / lesson.scans, rng)
        if rng.random() < 0.5:
            rapid, target = rapid[:, ::-1], target[:, ::-1]
        as_image = [torch.from_numpy(np.ascontiguousarray(part, np.float32))[None] for part in (rapid, target)]
        shares = [torch.full((1, 1, 1), share) for share in (fraction, lesson.scans - fraction)]
        return dict(zip(("rapid", "target", "fraction", "target_fraction"), [*as_image, *shares], strict=True))

    def _cut(self, counts: NDArray[Any], rng: np.random.Generator) -> tuple[int, int, int]:
        """Return view, first row and first column."""
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

    def _crop(self, counts: NDArray[Any], cut: tuple[int, int, int]) -> NDArray[Any]:
        view, row, column = cut
        part = counts[view, row : row + self.size, column : column + self.size]
        missing = [(0, self.size - side) for side in part.shape]
        return np.pad(part, missing) if np.any(missing) else part
