"""Semantic prior integration (SPI): masks scale and shift features, position by position."""

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 32


class SemanticModulation(nn.Module):
    """``x (1 + scale(M)) + shift(M)``, where two convolutions of the masks M give scale and shift.

    A new module is the identity. The normalisation of SPADE is left out, because it would remove the level of the
    counts from the features.

    Args:
        channels: Channels of the features.
        masks: Number of masks.
    Source:
        Park et al. 2019, SPADE, arXiv:1903.07291, as a reconstruction of the module that arXiv:2503.02321 calls SPI.
    """

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(masks, HIDDEN, 3, padding=1), nn.ReLU(inplace=True))
        self.scale_shift = nn.Conv2d(HIDDEN, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.scale_shift.weight)
        nn.init.zeros_(self.scale_shift.bias)  # type: ignore[arg-type] - it has one

    def forward(self, x: Tensor, masks: Tensor) -> Tensor:
        """Return the modulated features, ``(B, C, h, w)``.

        Args:
            x: Features, ``(B, C, h, w)``.
            masks: ``(B, K, H, W)``, at the resolution of the features or finer.
        """
        masks = F.adaptive_avg_pool2d(masks, (x.shape[2], x.shape[3]))
        scale, shift = self.scale_shift(self.shared(masks)).chunk(2, dim=1)
        return x * (1 + scale) + shift
