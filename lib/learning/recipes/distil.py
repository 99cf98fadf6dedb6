"""Distil a teacher into a student: its distribution at every voxel, and labels where there are any."""

import dataclasses

from torch import nn

from lib.data.pipeline import IGNORE, ImageSpec
from lib.learning.losses.deep_supervision import deep_supervision_loss
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.losses.distillation import distillation_loss, soft_dice_loss
from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.finetune import Finetune, finest
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.sam.network import PromptedNetwork
from lib.models.student.imitation import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distil(Recipe):
    """Learn from a teacher's outputs on all cases and from the labels of some, then from the labels alone.

    Args:
        temperature: How soft the teacher's distribution is made.
        soft_weight: Weight of the divergence from the teacher, and of Dice between its answer and the student's.
        label_weight: Weight of Dice and cross entropy where there are labels; cases without have none of it.
        encoder_weight: Weight of the distance from the teacher's features, which then sees every patch as well.
        finetune_epochs: Epochs on labels alone that follow, at a tenth of the rate; 0 leaves them out.
    Source:
        The idea of arXiv:2503.06976 and 2311.18237: teach the task to a large network, then its outputs to a small one.
    """

    temperature: float = 2.0
    soft_weight: float = 1.0
    label_weight: float = 1.0
    encoder_weight: float = 0.0
    finetune_epochs: int = 5

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        self._require("temperature", self.temperature > 0, "must be positive")
        self._require("soft_weight", self.soft_weight > 0, "must be positive: without a teacher it is a fine-tuning")
        for name in ("label_weight", "encoder_weight", "finetune_epochs"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")

    def assemble(self, network: nn.Module, teacher: nn.Module, spec: ImageSpec, shown: ImageSpec) -> nn.Module:
        """Return the student, beside its teacher's encoder where features are weighed.

        Raises:
            ValueError: If the teacher looks at slices that the student does not see.
        """
        if not self.encoder_weight:
            return network
        offsets = spec.slice_offsets
        if not isinstance(teacher, PromptedNetwork) and not set(shown.slice_offsets) <= set(offsets):
            raise ValueError(
                f"encoder_weight: the teacher sees the slices {shown.slice_offsets}, the student {offsets}"
            )
        channels = None if isinstance(teacher, PromptedNetwork) else [offsets.index(z) for z in shown.slice_offsets]
        return Imitation(network, teacher, spatial_dims=len(spec.roi), in_channels=len(offsets), channels=channels)

    def prepare(self, network: nn.Module) -> None:
        """Free the student; the teacher's encoder beside it stays as it is."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("teacher."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: Logits ``(B, K, *S)``, or a list of them, finest first, from images ``(B, C, *S)``; an `Imitation`
                where features are weighed.
            batch: ``image`` ``(B, C, *S)``, ``label`` ``(B, *S)``, the ``teacher``'s logits ``(B, K, *S)``, and where
                it has ``seen`` what the student sees, ``(B, *S)``.
        Returns:
            Scalars: ``loss``, ``distillation``, ``soft_dice``, ``encoder`` if weighed and, if a label is among them,
            ``dice_ce``.
        """
        views = network(batch["image"], answer=True) if self.encoder_weight else None
        outputs = network(batch["image"]) if views is None else views.logits
        answers = finest(outputs), batch["teacher"], batch["seen"]
        losses = {
            "distillation": distillation_loss(*answers, temperature=self.temperature),
            "soft_dice": soft_dice_loss(*answers),
        }
        total = self.soft_weight * (losses["distillation"] + losses["soft_dice"])
        if views is not None:
            losses["encoder"] = imitation_loss(views.ours, views.theirs)
            total = total + self.encoder_weight * losses["encoder"]
        if self.label_weight and bool((batch["label"] != IGNORE).any()):
            losses["dice_ce"] = deep_supervision_loss(dice_ce_loss, outputs, batch["label"])
            total = total + self.label_weight * losses["dice_ce"]
        return {"loss": total, **losses}

    def then(self) -> Finetune | None:
        """Return the fine-tuning that follows; None if there is none."""
        if not self.finetune_epochs:
            return None
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}
        later = {"max_epochs": self.finetune_epochs, "learning_rate": self.learning_rate / 10, "warmup_steps": 0}
        return Finetune(**(shared | later))
