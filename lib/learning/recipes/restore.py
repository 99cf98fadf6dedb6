"""Train a restoration network for rapid scans: fidelity of both stages, and distillation between the stages."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from lib.learning.losses.semantic_consistency import semantic_consistency_loss
from lib.learning.losses.semantic_distillation import semantic_distillation_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.models.restoration.cascade import Cascade, CascadeOutput
from lib.ops.anscombe import ROOT_AT_ZERO, SCALE, expected_counts, stabilise

NORMS = ("l1", "l2", "counts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restore(Recipe):
    """Weighted sum of fidelity to the target, semantic distillation (SKD) and semantic consistency (SCM).

    All terms use variance-stabilised counts at the level of the complete scan, or counts in units of their noise. The
    noise is then equal everywhere, so that bright regions such as the bladder do not dominate. The network, not the
    recipe, decides whether masks guide the second stage (SPI).

    Args:
        norm: Norm of the fidelity. ``l1`` is the published one; it learns the median, a whole number of counts, so
            images with few counts show steps. ``l2`` learns the mean of stabilised counts; if the target has only a
            part of the counts, the mean is too high where counts are few. ``counts`` divides squared differences of
            counts by their expected variance; it learns the mean of the counts for every part.
        distillation_weight: Weight of SKD; 0 leaves it out.
        consistency_weight: Weight of SCM; 0 leaves it out.
        amp: Whether to use mixed precision; off by default, because bfloat16 has a relative error of 0.4 % and counts
            must be preserved within 1 %.
    """

    amp: bool = False
    schedule: str = "cosine"
    norm: str = "counts"
    distillation_weight: float = 0.1
    consistency_weight: float = 0.1

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        self._require("norm", self.norm in NORMS, f"must be one of {', '.join(NORMS)}")
        for name in ("distillation_weight", "consistency_weight"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")

    def select_parameters(self, network: nn.Module) -> None:
        """Make both stages trainable and keep the semantic network frozen.

        Raises:
            ValueError: If a loss with a weight above 0 needs a part that the cascade does not have.
        """
        assert isinstance(network, Cascade), "the recipe restore trains a cascade"
        if self.distillation_weight and network.second is None:
            raise ValueError("distillation_weight needs a second stage: add one to the cascade, or set the weight to 0")
        if self.consistency_weight and (network.second is None or network.semantics is None):
            raise ValueError(
                "consistency_weight needs a second stage and semantics: add them to the cascade, or set the weight to 0"
            )
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("semantics."))

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: A `Cascade`.
            batch: Batch of `lib.data.scintigraphy.crops.CropDataset` items; counts are ``(B, 1, H, W)``.
        Returns:
            Scalars: ``loss``, ``first``, ``second`` if there is a second stage, and one per term with a weight above 0.
        """
        image = stabilise(batch["rapid"], batch["fraction"])
        target = batch["target"], batch["target_fraction"]
        stages: CascadeOutput = network(image, with_features=bool(self.distillation_weight or self.consistency_weight))
        losses = {"first": self._fidelity_loss(stages.first, target)}
        if stages.second is not None:
            losses["second"] = self._fidelity_loss(stages.second, target)
        total = torch.stack(list(losses.values())).sum()
        if self.distillation_weight:
            losses["distillation"] = _distillation(stages)
            total = total + self.distillation_weight * losses["distillation"]
        if self.consistency_weight:
            losses["consistency"] = _consistency(stages)
            total = total + self.consistency_weight * losses["consistency"]
        return {"loss": total, **losses}

    def _fidelity_loss(self, image: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        image, (counts, fraction) = image.float(), target
        if self.norm == "counts":
            expected = expected_counts(image, signed=True)
            variance = expected.detach().clamp_min(0) + ROOT_AT_ZERO**2
            return ((expected - counts / fraction).square() / variance).mean() / SCALE**2
        difference = image - stabilise(counts, fraction)
        return difference.abs().mean() if self.norm == "l1" else difference.square().mean()


def _distillation(stages: CascadeOutput) -> Tensor:
    assert stages.second is not None
    pairs = []
    if stages.first_features is not None and stages.second_features is not None:
        pairs = [(stages.first_features, stages.second_features)]
    return semantic_distillation_loss(stages.first, stages.second, pairs)


def _consistency(stages: CascadeOutput) -> Tensor:
    assert stages.first_features is not None and stages.second_features is not None and stages.masks is not None
    return semantic_consistency_loss(stages.first_features, stages.second_features, stages.masks)
