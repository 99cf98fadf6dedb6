"""Masks and features of a scan by a frozen segment-anything network, used in training only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.sam.network import PromptedNetwork, Prompts

HALF_SIDE_CELLS = 0.75
"""Half the side of a box, in cells of the grid; boxes overlap, so that every bone lies whole in some box."""
RANDOM_CELLS = 6


def box_grid(side: int, samples: int) -> Tensor:
    """Return boxes around the cells of a square grid.

    Args:
        side: Number of cells along each side.
        samples: Samples along each side of the image.
    Returns:
        ``(side^2, 4)``: first row, first column, last row, last column, in samples.
    """
    centres = (torch.arange(side) + 0.5) / side
    rows, columns = (centre.flatten() for centre in torch.meshgrid(centres, centres, indexing="ij"))
    boxes = torch.stack(
        [
            rows - HALF_SIDE_CELLS / side,
            columns - HALF_SIDE_CELLS / side,
            rows + HALF_SIDE_CELLS / side,
            columns + HALF_SIDE_CELLS / side,
        ],
        1,
    )
    return boxes.clamp(0, 1) * (samples - 1)


class SamSemantics(nn.Module):
    """Masks of the most conspicuous object in each box of a grid, and embeddings, by a frozen network.

    The prompts are boxes, because LiteMedSAM was trained with boxes. Mask k belongs to box k. Images are stretched to
    the square input of the network, so square crops are preferable.

    Args:
        network: A segment-anything network, with or without trained adapters.
        side: Number of boxes along each side of the image.
    """

    boxes: Tensor

    def __init__(self, network: PromptedNetwork, *, side: int = 4) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.count = side * side
        self.register_buffer("boxes", box_grid(side, network.image_size[0]), persistent=False)

    def features(self, image: Tensor) -> Tensor:
        """Return the embedding ``(B, C, h, w)`` of stabilised counts ``(B, 1, H, W)``; gradients reach the counts."""
        square = F.interpolate(image, self.network.image_size, mode="bilinear", align_corners=False)
        # Map to [0, 1) smoothly: a hot bladder neither saturates nor changes the scale of the other pixels.
        return self.network.encode(1 - torch.exp(-square.clamp_min(0)))

    @torch.no_grad()
    def masks(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return soft masks ``(B, K, H, W)`` in [0, 1], without a gradient.

        Args:
            features: Embeddings from `features`, ``(B, C, h, w)``.
            size: Size of the image, ``(H, W)``.
        """
        prompts = Prompts(boxes=self.boxes)
        logits = [self.network.decode(embedding[None], prompts)[:, 0] for embedding in features]
        return F.interpolate(torch.stack(logits), size, mode="bilinear", align_corners=False).sigmoid()


class RandomSemantics(SamSemantics):
    """Control condition: the same features, but smooth random masks, equally many and independent of the image."""

    @torch.no_grad()
    def masks(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return soft masks ``(B, K, H, W)``, drawn at random in every call."""
        noise = torch.randn(len(features), self.count, RANDOM_CELLS, RANDOM_CELLS, device=features.device)
        return (4 * F.interpolate(noise, size, mode="bicubic", align_corners=False) - 4).sigmoid()
