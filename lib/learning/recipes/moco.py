"""Contrastive pre-training: match two views of one image position and separate it from the rest of the batch."""

import dataclasses
from typing import ClassVar

from torch import Tensor, nn
from torch.utils.data import Dataset

from lib.data.patches.dataset import PatchDataset
from lib.learning.losses.contrast import contrast_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe


class TwoViews(Dataset[dict[str, Tensor]]):
    """Two independently augmented views of every patch: ``"image"`` and ``"other"``.

    Args:
        patches: Data set of patches without labels.
    """

    def __init__(self, patches: PatchDataset) -> None:
        self.patches = patches

    def set_epoch(self, epoch: int) -> None:
        """Draw the patches of another epoch."""
        self.patches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        first, second = self.patches.views(index, 2)
        return {"image": first["image"], "other": second["image"]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoCo(Recipe):
    """Contrastive loss between the queries of one view and the keys of the other, in both directions.

    Args:
        momentum: Decay of the momentum encoder per step, in [0, 1).
        temperature: Temperature of the contrastive loss.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057.
    """

    batch_size: int = 32
    momentum: float = 0.99
    temperature: float = 0.2

    has_unused_parameters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        super().__post_init__()
        self._require("momentum", 0 <= self.momentum < 1, "must lie in [0, 1)")
        self._require("temperature", self.temperature > 0, "must be positive")
        self._require("batch_size", self.batch_size > 1, "must be above 1: the loss needs negatives in the batch")

    def select_parameters(self, network: nn.Module) -> None:
        """Make all parameters trainable except those of the momentum encoder."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("slow."))

    def wrap_patches(self, patches: Dataset) -> Dataset:
        """Return two views of every patch."""
        assert isinstance(patches, PatchDataset), "MoCo draws its views from a PatchDataset"
        return TwoViews(patches)

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `MomentumPair`.
            batch: ``image`` and ``other``, ``(B, C, *S)``.
        """
        first, second, key, other = network(batch["image"], batch["other"], self.momentum)
        losses = [contrast_loss(q, k, temperature=self.temperature) for q, k in ((first, other), (second, key))]
        return {"loss": losses[0] + losses[1]}
