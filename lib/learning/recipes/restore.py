"""Teach a restorer of rapid scans: fidelity of both stages, and what the second stage teaches the first."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from lib.learning.losses.semantic_consistency import semantic_consistency_loss
from lib.learning.losses.semantic_distillation import semantic_distillation_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.restoration.cascade import Cascade, Stages
from lib.ops.anscombe import LEAST, SCALE, expected_counts, stabilise

NORMS = ("l1", "l2", "counts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restore(Recipe):
    """Fidelity to the target, semantic distillation (SKD) and semantic consistency (SCM), each with its weight.

    All of it on stabilised counts, on the level of the whole scan, or in units of the noise there: noise is then the
    same everywhere, and a bladder weighs no more than a rib. Whether masks guide the second stage (SPI) is a matter of
    the network.

    Args:
        norm: Of the fidelity, ``l1`` as published, ``l2``, or ``counts``: squares of counts over the variance expected
            of them. The median of counts is a whole number, so ``l1`` learns steps where counts are few; the mean that
            ``l2`` learns is what the way back to counts expects, but of a part of the counts it lies too high where
            they are few; ``counts`` learns the mean of the counts themselves, whatever part the target is.
        distillation_weight: Of SKD; 0 leaves it out.
        consistency_weight: Of SCM; 0 leaves it out.
        amp: Off unless asked for: bfloat16 knows a value to 0.4 %, and counts are to be kept within 1 %.
    """

    amp: bool = False
    schedule: str = "cosine"
    norm: str = "counts"
    distillation_weight: float = 0.1
    consistency_weight: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        self._require("norm", self.norm in NORMS, f"must be one of {', '.join(NORMS)}")
        for name in ("distillation_weight", "consistency_weight"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")

    def prepare(self, network: nn.Module) -> None:
        """Free both stages; the semantics stay frozen.

        Raises:
            ValueError: If a weighed loss needs a part that the cascade does not have.
        """
        assert isinstance(network, Cascade), "the recipe teaches a cascade"
        if self.distillation_weight and network.second is None:
            raise ValueError("distillation_weight needs a second stage to learn from")
        if self.consistency_weight and (network.second is None or network.semantics is None):
            raise ValueError("consistency_weight needs a second stage and semantics")
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("semantics."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: A `Cascade`.
            batch: As `lib.data.scintigraphy.crops.CropDataset` gives it, counts ``(B, 1, H, W)``.
        Returns:
            Scalars: ``loss``, ``first``, and one for the second stage and each weighed term.
        """
        image = stabilise(batch["rapid"], batch["fraction"])
        target = batch["target"], batch["target_fraction"]
        stages: Stages = network(image, compare=bool(self.distillation_weight or self.consistency_weight))
        losses = {"first": self._apart(stages.first, target)}
        if stages.second is not None:
            losses["second"] = self._apart(stages.second, target)
        total = torch.stack(list(losses.values())).sum()
        if self.distillation_weight:
            losses["distillation"] = _distillation(stages)
            total = total + self.distillation_weight * losses["distillation"]
        if self.consistency_weight:
            losses["consistency"] = _consistency(stages)
            total = total + self.consistency_weight * losses["consistency"]
        return {"loss": total, **losses}

    def _apart(self, image: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        image, (counts, fraction) = image.float(), target
        if self.norm == "counts":
            expected = expected_counts(image, signed=True)
            variance = expected.detach().clamp_min(0) + LEAST**2
            return ((expected - counts / fraction).square() / variance).mean() / SCALE**2
        apart = image - stabilise(counts, fraction)
        return apart.abs().mean() if self.norm == "l1" else apart.square().mean()


def _distillation(stages: Stages) -> Tensor:
    assert stages.second is not None
    pairs = []
    if stages.first_features is not None and stages.second_features is not None:
        pairs = [(stages.first_features, stages.second_features)]
    return semantic_distillation_loss(stages.first, stages.second, pairs)


def _consistency(stages: Stages) -> Tensor:
    assert stages.first_features is not None and stages.second_features is not None and stages.masks is not None
    return semantic_consistency_loss(stages.first_features, stages.second_features, stages.masks)
