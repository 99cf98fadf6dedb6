"""Teach a network which places are the same: two views of each, against all others of the batch."""

import dataclasses
from typing import ClassVar

from torch import Tensor, nn
from torch.utils.data import Dataset

from lib.data.patches.dataset import PatchDataset
from lib.learning.losses.contrast import contrast_loss
from lib.learning.recipes.recipe import Batch, Losses, Recipe


class TwoViews(Dataset[dict[str, Tensor]]):
    """Every place of a set of patches twice, changed anew: ``"image"`` and ``"other"``."""

    def __init__(self, patches: PatchDataset) -> None:
        self.patches = patches

    def set_epoch(self, epoch: int) -> None:
        """Draw other places from here on."""
        self.patches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        first, second = self.patches.views(index, 2)
        return {"image": first["image"], "other": second["image"]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoCo(Recipe):
    """The contrast of both views' queries with both views' keys.

    Args:
        momentum: Share of the slow copy that stays at each step.
        temperature: Of the contrast.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057.
    """

    batch_size: int = 32
    momentum: float = 0.99
    temperature: float = 0.2

    partly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        super().__post_init__()
        self._require("momentum", 0 <= self.momentum < 1, "must lie in [0, 1)")
        self._require("temperature", self.temperature > 0, "must be positive")
        self._require(
            "batch_size", self.batch_size > 1, "must be above 1: there is nothing to tell a single place from"
        )

    def prepare(self, network: nn.Module) -> None:
        """Free everything but the slow copy."""
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("slow."))

    def feed(self, patches: Dataset) -> Dataset:
        """Return two views of every place."""
        assert isinstance(patches, PatchDataset), "views are drawn from patches"
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
