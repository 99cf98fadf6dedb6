"""Teach a prompted network to answer without a prompt: the teacher of a task that has few labels."""

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from lib.data.pipeline import IGNORE
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.recipes.click import free_adapters
from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptFree(Recipe):
    """All labels together, asked of every image without a click.

    Dice is of the batch: an object in few of its images would else leave a network at the answer "nothing", from which
    Dice of each image leads nowhere.

    Source:
        Zhang & Liu 2023, SAMed, arXiv:2304.13785.
    """

    learning_rate: float = 5e-4
    clip_norm: float = 1.0

    partly: ClassVar[bool] = True

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
        logits = network(batch["image"])
        if logits.shape[2:] != label.shape[1:]:
            logits = F.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
        return {"loss": dice_ce_loss(logits, torch.where(label == IGNORE, label, (label > 0).to(label.dtype)))}
