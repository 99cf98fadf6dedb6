"""Train a prompted network to segment without prompts; it becomes the teacher of a task with few labels."""

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from lib.data.pipeline import IGNORE
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.recipes.click import unfreeze_adapters
from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptFree(Recipe):
    """Segment all labels together in every image, without a prompt.

    Dice is computed over the batch. If few images contain the object, a network soon predicts an empty mask; the Dice
    of a single image then has almost no gradient, and training would stop there.

    Source:
        Zhang & Liu 2023, SAMed, arXiv:2304.13785.
    """

    learning_rate: float = 5e-4
    clip_norm: float = 1.0

    has_unused_parameters: ClassVar[bool] = True

    def select_parameters(self, network: nn.Module) -> None:
        """Make adapters, prompt encoder and mask decoder trainable."""
        unfreeze_adapters(network)

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `PromptedNetwork`.
            batch: ``image`` ``(B, 1, H, W)``, ``label`` ``(B, H, W)``.
        """
        label = batch["label"]
        logits = network(batch["image"])
        if logits.shape[2:] != label.shape[1:]:
            logits = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
        return {"loss": dice_ce_loss(logits, torch.where(label == IGNORE, label, (label > 0).to(label.dtype)))}
