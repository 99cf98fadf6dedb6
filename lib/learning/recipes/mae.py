"""Masked image modelling: pre-train a network to reconstruct masked blocks of images."""

import dataclasses
from typing import ClassVar

from torch import nn

from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAE(Recipe):
    """Mean absolute error on the masked blocks.

    Args:
        share: Fraction of the blocks that are masked, in (0, 1).
    Source:
        He et al. 2022, arXiv:2111.06377, in its form for convolutions: Xie et al. 2022, arXiv:2111.09886.
    """

    share: float = 0.6

    has_unused_parameters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        self._require("share", 0 < self.share < 1, "must lie in (0, 1)")

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `MaskedImages`.
            batch: ``image`` ``(B, C, *S)``.
        """
        predicted, masked = network(batch["image"], self.share)
        error = (predicted.float() - batch["image"]).abs() * masked
        return {"loss": error.sum() / (masked.sum() * predicted.shape[1]).clamp(min=1)}
