"""Encoder with five stages: a stem at 1/2 and four stages at 1/4 to 1/32 of the resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

STRIDE = 32


class Encoder(nn.Module):
    """Run the stem and the stages in order, and return the features of all scales for the decoder.

    Args:
        full: Module that maps the image to features at full resolution.
        stem: Module that maps the image to features at half the resolution.
        stages: Modules, each of which halves the resolution of its input, in order.
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
