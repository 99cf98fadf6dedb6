"""A student beside the frozen encoder that it learns to see like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.blocks.conv import CONVOLUTIONS
from lib.models.blocks.partial import PartialState
from lib.models.sam.network import PromptedNetwork

TRIAL_SIDE = 64


class Seeing(Protocol):
    """A network that can be asked for its features."""

    def encode(self, x: Tensor) -> Tensor:
        """Return the coarsest features ``(B, E, *s)``."""
        ...

    def answer(self, x: Tensor) -> tuple[Any, Tensor]:
        """Return logits and the coarsest features."""
        ...


def width_of(network: nn.Module, spatial_dims: int, in_channels: int) -> int:
    """Return the channels of a network's coarsest features."""
    training = network.training
    with torch.no_grad():
        trial = torch.zeros(1, in_channels, *[TRIAL_SIDE] * spatial_dims, device=_device_of(network))
        features = cast(Seeing, network.eval()).encode(trial)
    network.train(training)
    return features.shape[1]


@dataclass(frozen=True, eq=False)
class Views:
    """What student and teacher made of a batch.

    Args:
        ours: The student's features, projected to the teacher's width, ``(B, E, *s)``.
        theirs: The teacher's, ``(B, E, *s')``, without a gradient.
        logits: The student's, as its `forward` gives them; None where they were not asked for.
    """

    ours: Tensor
    theirs: Tensor
    logits: Any = None


class Imitation(PartialState):
    """A student, a projection of its features, and a teacher's encoder, frozen and not in the state.

    Args:
        student: Learns.
        teacher: A `PromptedNetwork`, shown the middle channel at its own size, or a network with `encode`.
        spatial_dims: 2 or 3.
        in_channels: Of the student.
        channels: Those of the student's channels that a teacher with `encode` takes; absent, all.
    """

    frozen: ClassVar[str] = "teacher"

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.eval().requires_grad_(False)
        self.middle, self.channels = in_channels // 2, list(channels or range(in_channels))
        ours, theirs = width_of(student, spatial_dims, in_channels), self._width(spatial_dims)
        self.projection = CONVOLUTIONS[spatial_dims](ours, theirs, 1)

    def forward(self, image: Tensor, *, answer: bool = False) -> Views:
        """Return the features of both, and the student's logits if asked for."""
        network = cast(Seeing, self.student)
        logits, features = network.answer(image) if answer else (None, network.encode(image))
        with torch.no_grad():
            theirs = self._shown(image)
        return Views(self.projection(features), theirs, logits)

    def train(self, mode: bool = True) -> Imitation:
        """Put what learns into training mode; the teacher stays as it is."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _shown(self, image: Tensor) -> Tensor:
        if not isinstance(self.teacher, PromptedNetwork):
            return cast(Seeing, self.teacher).encode(image[:, self.channels])
        middle = image[:, self.middle : self.middle + 1]
        if middle.shape[2:] != self.teacher.image_size:
            middle = F.interpolate(middle, self.teacher.image_size, mode="bilinear", align_corners=False)
        return self.teacher.encode(middle)

    def _width(self, spatial_dims: int) -> int:
        if isinstance(self.teacher, PromptedNetwork):
            trial = torch.zeros(1, 1, *self.teacher.image_size, device=_device_of(self.teacher))
            return self.teacher.encode(trial).shape[1]
        return width_of(self.teacher, spatial_dims, len(self.channels))


def _device_of(network: nn.Module) -> torch.device:
    """Return where a network lies: a teacher that has answered may lie elsewhere than the student begins."""
    return next(network.parameters()).device
