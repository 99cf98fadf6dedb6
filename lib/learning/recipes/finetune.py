"""Train a segmentation network on labelled cases with Dice, cross entropy and optional terms for thin structures."""

import dataclasses
import functools

import torch
from torch import nn
from torch.utils.data import Dataset

from lib.data.pipeline import IGNORE
from lib.learning.losses.deep_supervision import deep_supervision_loss
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.losses.marginal import merge_uncovered, over_grid
from lib.learning.losses.skeleton_recall import SkeletonTargets, skeleton_recall_loss
from lib.learning.losses.soft_cldice import soft_cldice_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune(Recipe):
    """Dice and cross entropy with deep supervision, optionally with soft clDice and skeleton recall.

    Soft clDice uses the union of all foreground classes, because a break between two classes is visible in neither.

    Args:
        cl_dice_weight: Weight of soft clDice; 0 leaves it out.
        skeleton_weight: Weight of skeleton recall; 0 leaves it out and computes no skeletons.
        skeleton_iterations: Least number of erosions of the soft skeleton; more follow as long as voxels are left.
    """

    cl_dice_weight: float = 0.0
    skeleton_weight: float = 0.0
    skeleton_iterations: int = 3

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        for name in ("cl_dice_weight", "skeleton_weight"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require("skeleton_iterations", self.skeleton_iterations > 0, "must be positive")

    def wrap_patches(self, patches: Dataset) -> Dataset:
        """Return the patches, with skeletons if `skeleton_weight` is above 0."""
        return SkeletonTargets(patches) if self.skeleton_weight else patches

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch.

        Args:
            network: Maps images ``(B, C, *S)`` to logits ``(B, K, *S)`` or to a list of logits, finest first.
            batch: ``image`` ``(B, C, *S)``, ``label`` ``(B, *S)``, for skeleton recall ``skeleton`` ``(B, *S)``
                and, with labels that do not cover all classes, ``covered``, bool ``(B, K)``.
        Returns:
            Scalars: ``loss``, ``dice_ce`` and one per optional term with a weight above 0.
        """
        label = batch["label"]
        outputs = network(batch["image"])
        losses = {"dice_ce": supervised_loss(outputs, batch)}
        total = losses["dice_ce"]
        prob = covered_softmax(finest(outputs).float(), batch.get("covered"))
        if self.cl_dice_weight:
            losses["cl_dice"] = self._cl_dice(prob, label)
            total = total + self.cl_dice_weight * losses["cl_dice"]
        if self.skeleton_weight:
            losses["skeleton_recall"] = skeleton_recall_loss(prob, batch["skeleton"])
            total = total + self.skeleton_weight * losses["skeleton_recall"]
        return {"loss": total, **losses}

    def _cl_dice(self, prob: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        label = label[:, None]
        valid = label != IGNORE
        inside = (label > 0) & valid
        return soft_cldice_loss(1 - prob[:, :1], inside, valid=valid, iterations=self.skeleton_iterations)


def supervised_loss(outputs: torch.Tensor | list[torch.Tensor], batch: Batch) -> torch.Tensor:
    """Return Dice and cross entropy with deep supervision over the classes that the labels cover.

    Args:
        outputs: Logits, ``(B, K, *S)``, or several of them, finest first.
        batch: ``label`` ``(B, *S)`` and, with labels that do not cover all classes, ``covered``, bool ``(B, K)``.
    Returns:
        A scalar.
    """
    loss = functools.partial(dice_ce_loss, covered=batch.get("covered"))
    return deep_supervision_loss(loss, outputs, batch["label"])


def covered_softmax(logits: torch.Tensor, covered: torch.Tensor | None) -> torch.Tensor:
    """Return probabilities ``(B, K, *S)``; classes that are not covered count as background and have probability 0."""
    if covered is None:
        return logits.softmax(dim=1)
    return merge_uncovered(logits.log_softmax(dim=1), covered).exp() * over_grid(covered, logits)


def finest(outputs: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """Return the full-resolution logits of a network's output."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]
