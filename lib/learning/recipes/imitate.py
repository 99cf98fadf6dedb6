"""Task-agnostic distillation: train a student's encoder to reproduce the features of a teacher's encoder."""

import dataclasses
from typing import ClassVar

from torch import nn

from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imitate(Recipe):
    """Cosine distance between student and teacher features at every position; labels are not used.

    Source:
        The task-agnostic arm of arXiv:2311.18237 and 2503.06976.
    """

    # Only the student's encoder runs.
    has_unused_parameters: ClassVar[bool] = True

    def select_parameters(self, network: nn.Module) -> None:
        """Make the student and its projection trainable and freeze the teacher."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("teacher."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: An `Imitation`.
            batch: ``image`` ``(B, C, *S)``.
        """
        views = network(batch["image"])
        return {"loss": imitation_loss(views.student, views.teacher)}
