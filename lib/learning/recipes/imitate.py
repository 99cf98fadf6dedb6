"""Teach a student to see as a teacher's encoder does, whatever the task: what task-agnostic distillation is."""

import dataclasses

from torch import nn

from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imitate(Recipe):
    """The direction of the teacher's features at every place; no label and no task is heard of.

    Source:
        The task-agnostic arm of arXiv:2311.18237 and 2503.06976.
    """

    def prepare(self, network: nn.Module) -> None:
        """Free the student and its projection; the teacher stays as it is."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("teacher."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: An `Imitation`.
            batch: ``image`` ``(B, C, *S)``.
        """
        views = network(batch["image"])
        return {"loss": imitation_loss(views.ours, views.theirs)}
