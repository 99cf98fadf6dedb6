"""Train a diffusion model that generates images from label maps."""

import dataclasses

import torch.nn.functional as F
from torch import nn

from lib.data.patches.augment import Augmentation
from lib.learning.recipes.recipe import Batch, Losses, Recipe
from lib.ops.mirror import Mirroring


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synthesise(Recipe):
    """Mean squared error of the predicted velocity, over random noise and diffusion times."""

    clip_norm: float = 1.0
    ema_decay: float = 0.995

    def augmentation(self, mirroring: Mirroring | None) -> Augmentation:
        """Return small geometric augmentation only, because the model would reproduce changed intensities."""
        return dataclasses.replace(
            super().augmentation(mirroring),
            rotation_deg=8.0,
            zoom=(0.9, 1.1),
            shift_fraction=0.1,
            offset=0.0,
            noise_sd=0.0,
            prob=0.0,
        )

    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the loss of one batch.

        Args:
            network: A `Denoiser`.
            batch: ``image`` ``(B, S, H, W)``, ``label`` ``(B, H, W)``.
        """
        predicted, velocity = network(batch["image"], batch["label"])
        return {"loss": F.mse_loss(predicted.float(), velocity.float())}
