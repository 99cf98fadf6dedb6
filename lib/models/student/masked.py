"""A student that fills in what was hidden of an image."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.student.conv import RAISED
from lib.models.student.imitation import TRIAL_SIDE, Seeing, width_of


class MaskedImages(nn.Module):
    """A student, a value to hide with, and one layer from its coarsest features back to the image.

    Blocks are hidden in the image and not left out of a sequence, so that convolutions and scans can be taught as
    transformers are.

    Args:
        student: Learns.
        spatial_dims: 2 or 3.
        in_channels: Of the student.
        block: Side of what is hidden at a time, in samples.
    Source:
        Xie et al. 2022, SimMIM, arXiv:2111.09886; the lesson is He et al. 2022, MAE, arXiv:2111.06377.
    """

    def __init__(self, student: nn.Module, *, spatial_dims: int, in_channels: int, block: int = 16) -> None:
        super().__init__()
        self.student, self.block = student, block
        self.hidden = nn.Parameter(torch.full((1, in_channels, *[1] * spatial_dims), 0.5))
        with torch.no_grad():
            image = torch.zeros(1, in_channels, *[TRIAL_SIDE] * spatial_dims)
            stride = TRIAL_SIDE // cast(Seeing, student.eval()).encode(image).shape[2]
        self.head = RAISED[spatial_dims](
            width_of(student, spatial_dims, in_channels), in_channels, stride, stride=stride
        )

    def forward(self, image: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Return the image as it was guessed, ``(B, C, *S)``, and where it was hidden, bool ``(B, 1, *S)``.

        Args:
            image: ``(B, C, *S)``.
            share: Of the blocks that are hidden.
        """
        blocks = [-(-size // self.block) for size in image.shape[2:]]
        drawn = torch.rand(len(image), 1, *blocks, device=image.device)
        # As many in every image: the k-th smallest draw is the bar.
        count = max(1, round(share * drawn[0].numel()))
        bar = drawn.flatten(1).kthvalue(count).values.view(-1, *[1] * (drawn.ndim - 1))
        where = F.interpolate((drawn <= bar).float(), scale_factor=float(self.block), mode="nearest").bool()
        where = where[(..., *(slice(size) for size in image.shape[2:]))]
        guessed = self.head(cast(Seeing, self.student).encode(torch.where(where, self.hidden.to(image), image)))
        return guessed[(..., *(slice(size) for size in image.shape[2:]))], where
