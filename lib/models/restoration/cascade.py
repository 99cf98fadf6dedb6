"""The cascade that trains a restorer: f_IR1, segment-anything on its output, and f_IR2 guided by the masks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lib.models.blocks.partial import PartialState
from lib.models.restoration.nafnet import NAFNet
from lib.models.restoration.semantics import SamSemantics


@dataclass(frozen=True, eq=False)
class CascadeOutput:
    """Outputs of the cascade for a batch.

    Args:
        first: Output I1 of f_IR1, ``(B, 1, H, W)``.
        second: Output I2 of f_IR2, ``(B, 1, H, W)``; None without a second stage.
        masks: Masks M of I1, ``(B, K, H, W)``, without a gradient; None without semantics.
        first_features: Features phi(I1), ``(B, C, h, w)``, with a gradient to I1; None if not requested.
        second_features: Features phi(I2), ``(B, C, h, w)``, without a gradient; None if not requested.
    """

    first: Tensor
    second: Tensor | None = None
    masks: Tensor | None = None
    first_features: Tensor | None = None
    second_features: Tensor | None = None


class Cascade(PartialState):
    """``I1 = f_IR1(x)``, ``M = SAM(I1)``, ``I2 = f_IR2(I1, x; M)``. Only f_IR1 is exported and served.

    The state dict contains f_IR1 and f_IR2, but not the frozen network behind the semantics. This project decided that
    the gradient of the loss of I2 passes through I1 into f_IR1, and that the input of f_IR2 includes x besides I1.

    Args:
        first: f_IR1, with one input and one output channel.
        second: f_IR2, with two input channels and one output channel. If masks guide it (SPI), it has one guide channel
            per mask. None trains f_IR1 alone.
        semantics: Provider of masks and features; None if neither is needed.
    Raises:
        ValueError: If the second stage has guide channels and `semantics` is None.
    Source:
        arXiv:2503.02321 (reconstructed, because no code is published); a cascade used in training only is from
        arXiv:2403.16368.
    """

    frozen: ClassVar[str] = "semantics"

    def __init__(self, first: NAFNet, second: NAFNet | None = None, semantics: SamSemantics | None = None) -> None:
        super().__init__()
        self.first, self.second, self.semantics = first, second, semantics
        if self.guided and semantics is None:
            raise ValueError("the second stage is guided by masks, but semantics is None: pass semantics")

    @property
    def guided(self) -> bool:
        """Whether masks guide the second stage (SPI)."""
        return self.second is not None and len(self.second.guides) > 0

    def forward(self, image: Tensor, *, with_features: bool = False) -> CascadeOutput:
        """Return the outputs of both stages.

        Args:
            image: Stabilised counts of the rapid scan, ``(B, 1, H, W)``.
            with_features: Whether to return the masks and the features of both stages, for the losses that need them.
        """
        first = self.first(image)
        if self.second is None:
            return CascadeOutput(first)
        masks = features = None
        if self.semantics is not None and (self.guided or with_features):
            with torch.set_grad_enabled(with_features and torch.is_grad_enabled()):
                features = self.semantics.features(first)
            masks = self.semantics.masks(features, (image.shape[2], image.shape[3]))
        second = self.second(torch.cat([first, image], 1), masks if self.guided else None)
        if not with_features or self.semantics is None:
            return CascadeOutput(first, second, masks)
        with torch.no_grad():
            return CascadeOutput(first, second, masks, features, self.semantics.features(second))

    def export(self) -> NAFNet:
        """Return a copy of f_IR1, the only part that is served."""
        return copy.deepcopy(self.first).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Cascade:
        """Set the mode of both stages; the semantics stay in evaluation mode."""
        super().train(mode)
        if self.semantics is not None:
            self.semantics.eval()
        return self
