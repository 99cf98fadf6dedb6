"""Teach a prompted network to answer without a prompt: the teacher of a task that has few labels."""

import dataclasses
from typing import ClassVar

import torch.nn.functional as F
from torch import nn

from lib.data.pipeline import IGNORE
from lib.learning.click import free_adapters
from lib.learning.losses.mask import mask_loss
from lib.learning.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptFree(Recipe):
    """All labels together, asked of every image without a click.

    Args:
        dice_weight: Of soft Dice in the loss; the rest is cross entropy. A network that answers "nothing" is all but
            flat in Dice, and with more of it that is where the first steps end where little of an image is wanted.
    Source:
        Zhang & Liu 2023, SAMed, arXiv:2304.13785.
    """

    dice_weight: float = 0.3
    clip_norm: float = 1.0

    partly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        self._require("dice_weight", 0 <= self.dice_weight <= 1, "must lie in [0, 1]")

    def prepare(self, network: nn.Module) -> None:
        """Free adapters, prompt encoder and decoder."""
        free_adapters(network)

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `PromptedNetwork`.
            batch: ``image`` ``(B, 1, H, W)``, ``label`` ``(B, H, W)``.
        """
        label = batch["label"]
        logits = network(batch["image"])[:, 1:]
        if logits.shape[2:] != label.shape[1:]:
            logits = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
        valid = label != IGNORE
        return {"loss": mask_loss(logits[:, 0], (label > 0) & valid, valid, dice_weight=self.dice_weight)}
