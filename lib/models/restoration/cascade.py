"""The cascade that teaches a restorer: f_IR1, what segment-anything sees in its answer, and f_IR2 guided by that."""

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
class Stages:
    """What the cascade made of a batch.

    Args:
        first: I1 of f_IR1, ``(B, 1, H, W)``.
        second: I2 of f_IR2, the same; None without a second stage.
        masks: M of I1, ``(B, K, H, W)``, without a gradient; None without semantics.
        first_features: phi(I1), ``(B, C, h, w)``, with a gradient to I1.
        second_features: phi(I2), without one.
    """

    first: Tensor
    second: Tensor | None = None
    masks: Tensor | None = None
    first_features: Tensor | None = None
    second_features: Tensor | None = None


class Cascade(PartialState):
    """``I1 = f_IR1(x)``, ``M = SAM(I1)``, ``I2 = f_IR2(I1, x; M)``. Only f_IR1 is exported and served.

    The state is what learns: f_IR1 and f_IR2; the frozen network that gives the semantics is not in it. That the
    gradient of I2's own loss passes through I1 into f_IR1, and that f_IR2 sees x beside I1, are decisions of ours.

    Args:
        first: f_IR1, one channel to one.
        second: f_IR2, two channels to one, with as many guide channels as there are masks where masks guide it (SPI);
            None trains f_IR1 alone.
        semantics: Masks and features; None where nothing asks for them.
    Raises:
        ValueError: If the second stage is to be guided and there is nothing to guide it.
    Source:
        arXiv:2503.02321 (no code published: a reconstruction); the cascade that only trains is arXiv:2403.16368's.
    """

    frozen: ClassVar[str] = "semantics"

    def __init__(self, first: NAFNet, second: NAFNet | None = None, semantics: SamSemantics | None = None) -> None:
        super().__init__()
        self.first, self.second, self.semantics = first, second, semantics
        if self.guided and semantics is None:
            raise ValueError("the second stage takes masks as its guide, and there are no semantics to give them")

    @property
    def guided(self) -> bool:
        """Whether masks guide the second stage (SPI)."""
        return self.second is not None and len(self.second.guides) > 0

    def forward(self, image: Tensor, *, compare: bool = False) -> Stages:
        """Return both stages.

        Args:
            image: Stabilised counts of the rapid scan, ``(B, 1, H, W)``.
            compare: Whether to return masks and features of both stages, for the losses between them.
        """
        first = self.first(image)
        if self.second is None:
            return Stages(first)
        masks = features = None
        if self.semantics is not None and (self.guided or compare):
            with torch.set_grad_enabled(compare and torch.is_grad_enabled()):
                features = self.semantics.features(first)
            masks = self.semantics.masks(features, (image.shape[2], image.shape[3]))
        second = self.second(torch.cat([first, image], 1), masks if self.guided else None)
        if not compare or self.semantics is None:
            return Stages(first, second, masks)
        with torch.no_grad():
            return Stages(first, second, masks, features, self.semantics.features(second))

    def export(self) -> NAFNet:
        """Return a copy of f_IR1, which is all that is served."""
        return copy.deepcopy(self.first).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Cascade:
        """Put what learns into training mode; the semantics stay as they are."""
        super().train(mode)
        if self.semantics is not None:
            self.semantics.eval()
        return self
