"""Masked image modelling: a student learns to reconstruct hidden blocks of an image."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.student.conv import TRANSPOSED_CONVOLUTIONS
from lib.models.student.imitation import PROBE_SIDE, FeatureNetwork, feature_channels


class MaskedImages(nn.Module):
    """A student, a learned value for hidden samples, and one layer that reconstructs the image from its features.

    Blocks are hidden in the image and not removed from a sequence, so that networks of convolutions and scans can be
    trained in the same way as transformers.

    Args:
        student: Network that is trained.
        spatial_dims: 2 or 3.
        in_channels: Input channels of the student.
        block: Side of a hidden block, in samples.
    Source:
        Xie et al. 2022, SimMIM, arXiv:2111.09886; the training task is from He et al. 2022, MAE, arXiv:2111.06377.
    """

    no_weight_decay = ("hidden",)

    def __init__(self, student: nn.Module, *, spatial_dims: int, in_channels: int, block: int = 16) -> None:
        super().__init__()
        self.student, self.block = student, block
        self.hidden = nn.Parameter(torch.full((1, in_channels, *[1] * spatial_dims), 0.5))
        with torch.no_grad():
            image = torch.zeros(1, in_channels, *[PROBE_SIDE] * spatial_dims)
            stride = PROBE_SIDE // cast(FeatureNetwork, student.eval()).encode(image).shape[2]
        self.head = TRANSPOSED_CONVOLUTIONS[spatial_dims](
            feature_channels(student, spatial_dims, in_channels), in_channels, stride, stride=stride
        )

    def forward(self, image: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
        """Return the reconstructed image, ``(B, C, *S)``, and the mask of the hidden samples, bool ``(B, 1, *S)``.

        Args:
            image: ``(B, C, *S)``.
            fraction: Fraction of the blocks to hide.
        """
        blocks = [-(-size // self.block) for size in image.shape[2:]]
        drawn = torch.rand(len(image), 1, *blocks, device=image.device)
        # Hide the same number of blocks in every image: those with the k smallest random numbers.
        count = max(1, round(fraction * drawn[0].numel()))
        threshold = drawn.flatten(1).kthvalue(count).values.view(-1, *[1] * (drawn.ndim - 1))
        mask = F.interpolate((drawn <= threshold).float(), scale_factor=float(self.block), mode="nearest").bool()
        mask = mask[(..., *(slice(size) for size in image.shape[2:]))]
        masked_image = torch.where(mask, self.hidden.to(image), image)
        reconstructed = self.head(cast(FeatureNetwork, self.student).encode(masked_image))
        return reconstructed[(..., *(slice(size) for size in image.shape[2:]))], mask
