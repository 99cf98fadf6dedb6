"""What segment-anything says of a scan, masks and features; it only teaches: never served, it learns nothing here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.sam.network import PromptedNetwork, Prompts

REACH = 0.75
"""Half the side of a box of the grid, in cells: neighbours overlap, so that no bone is cut by every box."""
RANDOM_CELLS = 6


def box_grid(side: int, samples: int) -> Tensor:
    """Return boxes ``(side^2, 4)`` around the cells of a grid: first row, column, last row, column, in samples."""
    centres = (torch.arange(side) + 0.5) / side
    rows, columns = (each.flatten() for each in torch.meshgrid(centres, centres, indexing="ij"))
    boxes = torch.stack([rows - REACH / side, columns - REACH / side, rows + REACH / side, columns + REACH / side], 1)
    return boxes.clamp(0, 1) * (samples - 1)


class SamSemantics(nn.Module):
    """Masks of what stands out in each box of a grid, and the encoder's embedding, of a frozen network.

    Boxes, since LiteMedSAM knows little else; their order gives a mask its place. Images are stretched to the network's
    square, so crops had better be square.

    Args:
        network: With whatever adapters it learned.
        side: Boxes along each side of the image.
    """

    boxes: Tensor

    def __init__(self, network: PromptedNetwork, *, side: int = 4) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.count = side * side
        self.register_buffer("boxes", box_grid(side, network.image_size[0]), persistent=False)

    def features(self, image: Tensor) -> Tensor:
        """Return the embedding ``(B, C, h, w)`` of stabilised counts ``(B, 1, H, W)``; gradients reach these."""
        square = F.interpolate(image, self.network.image_size, mode="bilinear", align_corners=False)
        # Into [0, 1) without an upper end: a hot bladder neither saturates nor sets the scale for everything else.
        return self.network.encode(1 - torch.exp(-square.clamp_min(0)))

    @torch.no_grad()
    def masks(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return soft masks ``(B, K, H, W)`` in [0, 1], without a gradient.

        Args:
            features: What `features` gave.
            size: Of the image, ``(H, W)``.
        """
        prompts = Prompts(boxes=self.boxes)
        logits = [self.network.decode(one[None], prompts)[:, 0] for one in features]
        return F.interpolate(torch.stack(logits), size, mode="bilinear", align_corners=False).sigmoid()


class RandomSemantics(SamSemantics):
    """The control: the same features, and masks that have nothing to do with the image, smooth and as many."""

    @torch.no_grad()
    def masks(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return soft masks ``(B, K, H, W)`` drawn anew each time."""
        noise = torch.randn(len(features), self.count, RANDOM_CELLS, RANDOM_CELLS, device=features.device)
        return (4 * F.interpolate(noise, size, mode="bicubic", align_corners=False) - 4).sigmoid()
