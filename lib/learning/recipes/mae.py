"""Teach a network what images look like: parts of them are hidden, and it fills them in."""

import dataclasses
from typing import ClassVar

from torch import nn

from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAE(Recipe):
    """The mean absolute error of what was hidden.

    Args:
        share: Of the blocks that are hidden.
    Source:
        He et al. 2022, arXiv:2111.06377, in the form that convolutions can take: Xie et al. 2022, arXiv:2111.09886.
    """

    share: float = 0.6

    partly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        self._require("share", 0 < self.share < 1, "must lie in (0, 1)")

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `MaskedImages`.
            batch: ``image`` ``(B, C, *S)``.
        """
        guessed, where = network(batch["image"], self.share)
        apart = (guessed.float() - batch["image"]).abs() * where
        return {"loss": apart.sum() / (where.sum() * guessed.shape[1]).clamp(min=1)}
