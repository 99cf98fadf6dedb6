"""TopoWMamba: an encoder and a decoder, with padding so that an image can have any size."""

from __future__ import annotations

import torch
from torch import nn

from lib.models.blocks.layout import channels_last
from lib.models.blocks.padding import crop_outputs, pad_to_multiple
from lib.models.topowmamba.decoder import Decoder
from lib.models.topowmamba.encoder import STRIDE, Encoder


class TopoWMamba(nn.Module):
    """A network of an encoder and a decoder; the builder chooses their sizes.

    An image of any size is padded to a multiple of 32 by replication, and the logits are cropped to its size.

    Args:
        encoder: Maps an image to features.
        decoder: Maps features to logits.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @property
    def classifier(self) -> nn.Module:
        """The layer that computes the logits at full resolution."""
        return self.decoder.heads[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits of the image ``x (B, C, *S)``.

        Returns:
            ``(B, K, *S)``; in training with deep supervision a list at 1, 1/2, 1/4 and 1/8, finest first, of shape
            ``ceil(S / 2**i)``.
        """
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor | list[torch.Tensor], torch.Tensor]:
        """Return the logits as `forward` does, and the coarsest features ``(B, E, *S / 32)``, in one pass."""
        heads = len(self.decoder.heads) if self.training else 1
        features = self.encoder(channels_last(pad_to_multiple(x, STRIDE)))
        outputs = crop_outputs(self.decoder(features, heads), x.shape[2:])
        return outputs if len(outputs) > 1 else outputs[0], features[-1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the coarsest features ``(B, E, *S / 32)`` of an image ``(B, C, *S)``."""
        return self.encoder(channels_last(pad_to_multiple(x, STRIDE)))[-1]
