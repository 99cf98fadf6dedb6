"""Distil a teacher into a student: learn the teacher's distribution at every voxel, and labels where they exist."""

import dataclasses

from torch import nn

from lib.data.pipeline import IGNORE, ImageSpec
from lib.learning.losses.distillation import distillation_loss, soft_dice_loss
from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.finetune import Finetune, finest, supervised_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.sam.network import PromptedNetwork
from lib.models.student.imitation import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distil(Recipe):
    """Learn from a teacher's logits on all cases and from the labels of some cases, then from the labels only.

    Args:
        temperature: Temperature of the softmax in the divergence; a higher value gives softer distributions.
        soft_weight: Weight of the divergence from the teacher and of the soft Dice loss between teacher and student.
        label_weight: Weight of Dice and cross entropy on voxels with a label.
        encoder_weight: Weight of the distance from the teacher's features; above 0 the teacher's encoder runs in every
            step.
        finetune_epochs: Epochs of fine-tuning on labels only that follow, at a tenth of the learning rate; 0 for none.
    Source:
        The idea of arXiv:2503.06976 and 2311.18237: teach the task to a large network, then its outputs to a small one.
    """

    temperature: float = 2.0
    soft_weight: float = 1.0
    label_weight: float = 1.0
    encoder_weight: float = 0.0
    finetune_epochs: int = 5

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        self._require("temperature", self.temperature > 0, "must be positive")
        self._require(
            "soft_weight", self.soft_weight > 0, "must be positive; without a teacher use the recipe finetune"
        )
        for name in ("label_weight", "encoder_weight", "finetune_epochs"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")

    def attach_teacher(
        self, network: nn.Module, teacher: nn.Module, spec: ImageSpec, teacher_spec: ImageSpec
    ) -> nn.Module:
        """Return the student, or student and teacher's encoder in one module if `encoder_weight` is above 0.

        Raises:
            ValueError: If the teacher reads slices that the student does not read.
        """
        if not self.encoder_weight:
            return network
        offsets = spec.slice_offsets
        if not isinstance(teacher, PromptedNetwork) and not set(teacher_spec.slice_offsets) <= set(offsets):
            raise ValueError(
                f"encoder_weight: the teacher sees the slices {teacher_spec.slice_offsets}, the student {offsets}; "
                "add the missing slice_offsets to the student, or set encoder_weight to 0"
            )
        channels, count = None, spec.channel_count
        if not isinstance(teacher, PromptedNetwork):
            channels = [count * offsets.index(z) + c for z in teacher_spec.slice_offsets for c in range(count)]
        inputs = count * len(offsets)
        return Imitation(network, teacher, spatial_dims=len(spec.roi), in_channels=inputs, channels=channels)

    def select_parameters(self, network: nn.Module) -> None:
        """Make the student trainable and freeze the teacher's encoder."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("teacher."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: Student, which maps images ``(B, C, *S)`` to logits ``(B, K, *S)`` or to a list of logits, finest
                first; an `Imitation` if `encoder_weight` is above 0.
            batch: ``image`` ``(B, C, *S)``, ``label`` ``(B, *S)``, ``teacher``: the teacher's logits ``(B, K, *S)``,
                and ``seen``: voxels where the teacher's logits are valid, bool ``(B, *S)``; `Finetune` has ``covered``.
        Returns:
            Scalars: ``loss``, ``distillation``, ``soft_dice``, ``encoder`` if `encoder_weight` is above 0, and
            ``dice_ce`` if the batch has a label.
        """
        views = network(batch["image"], with_logits=True) if self.encoder_weight else None
        outputs = network(batch["image"]) if views is None else views.logits
        compared = finest(outputs), batch["teacher"], batch["seen"]
        losses = {
            "distillation": distillation_loss(*compared, temperature=self.temperature),
            "soft_dice": soft_dice_loss(*compared),
        }
        total = self.soft_weight * (losses["distillation"] + losses["soft_dice"])
        if views is not None:
            losses["encoder"] = imitation_loss(views.student, views.teacher)
            total = total + self.encoder_weight * losses["encoder"]
        # Added to every batch; without a label its gradient is 0. Several processes average the gradients of all
        # outputs: a process that left some of them unused would fail or keep the others waiting.
        supervised = supervised_loss(outputs, batch)
        total = total + self.label_weight * supervised
        if self.label_weight and bool((batch["label"] != IGNORE).any()):
            losses["dice_ce"] = supervised
        return {"loss": total, **losses}

    def next_recipe(self) -> Finetune | None:
        """Return the recipe of the fine-tuning that follows; None if `finetune_epochs` is 0."""
        if not self.finetune_epochs:
            return None
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}
        later = {"max_epochs": self.finetune_epochs, "learning_rate": self.learning_rate / 10, "warmup_steps": 0}
        return Finetune(**(shared | later))
