"""The five-stage encoder: a stem at 1/2, and four stages at 1/4 to 1/32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

STRIDE = 32


class Encoder(nn.Module):
    """Run a stem and stages one after the other and keep what each leaves for the decoder.

    Args:
        full: Part that keeps the resolution and sees the raw image.
        stem: Part that halves the raw image's resolution.
        stages: Parts that each halve the resolution of the one before, in order.
    """

    def __init__(self, full: nn.Module, stem: nn.Module, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.full, self.stem = full, stem
        self.stages = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of ``x (B, C, *S)`` at 1, 1/2, 1/4, ..., finest first."""
        features = [self.full(x), self.stem(x)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features
