"""Semantic prior integration: features scaled and shifted, place by place, as masks say."""

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 32


class SemanticModulation(nn.Module):
    """``x (1 + scale(M)) + shift(M)``, both of two convolutions of the masks; the identity until they learn.

    Without SPADE's normalisation, which would take the counts out of the features.

    Args:
        channels: Of the features.
        masks: How many masks.
    Source:
        Park et al. 2019, SPADE, arXiv:1903.07291; in the place that arXiv:2503.02321 calls SPI (reconstruction).
    """

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(masks, HIDDEN, 3, padding=1), nn.ReLU(inplace=True))
        self.scale_shift = nn.Conv2d(HIDDEN, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.scale_shift.weight)
        nn.init.zeros_(self.scale_shift.bias)  # type: ignore[arg-type] - it has one

    def forward(self, x: Tensor, masks: Tensor) -> Tensor:
        """Return the modulated features.

        Args:
            x: ``(B, C, h, w)``.
            masks: ``(B, K, H, W)``, on a grid as fine or finer.
        """
        masks = F.adaptive_avg_pool2d(masks, (x.shape[2], x.shape[3]))
        scale, shift = self.scale_shift(self.shared(masks)).chunk(2, dim=1)
        return x * (1 + scale) + shift
