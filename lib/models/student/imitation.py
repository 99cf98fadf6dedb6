"""A student together with the frozen encoder of its teacher, for learning the teacher's features."""

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

PROBE_SIDE = 64


class FeatureNetwork(Protocol):
    """A network that returns features."""

    def encode(self, x: Tensor) -> Tensor:
        """Return the coarsest features ``(B, E, *s)``."""
        ...

    def forward_with_features(self, x: Tensor) -> tuple[Any, Tensor]:
        """Return logits ``(B, K, *S)`` and the coarsest features ``(B, E, *s)``."""
        ...


def feature_channels(network: nn.Module, spatial_dims: int, in_channels: int) -> int:
    """Return the number of channels of the coarsest features of a network."""
    training = network.training
    with torch.no_grad():
        probe = torch.zeros(1, in_channels, *[PROBE_SIDE] * spatial_dims, device=_device_of(network))
        features = cast(FeatureNetwork, network.eval()).encode(probe)
    network.train(training)
    return features.shape[1]


@dataclass(frozen=True, eq=False)
class FeaturePair:
    """Features of student and teacher for a batch.

    Args:
        student: Features of the student, projected to the channels of the teacher, ``(B, E, *s)``.
        teacher: Features of the teacher, ``(B, E, *s')``, without a gradient.
        logits: Logits of the student, as its `forward` returns them; None if not requested.
    """

    student: Tensor
    teacher: Tensor
    logits: Any = None


class Imitation(PartialState):
    """A student, a projection of its features, and the frozen encoder of a teacher, which is not in the state dict.

    Args:
        student: Network that is trained.
        teacher: Network whose features the student learns. A `PromptedNetwork` gets the middle channel, resized to its
            image size; any other network needs a method `encode`.
        spatial_dims: 2 or 3.
        in_channels: Input channels of the student.
        channels: Indices of the student's input channels that a teacher other than a `PromptedNetwork` gets; None for
            all.
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
        student_channels = feature_channels(student, spatial_dims, in_channels)
        self.projection = CONVOLUTIONS[spatial_dims](student_channels, self._teacher_channels(spatial_dims), 1)

    def forward(self, image: Tensor, *, with_logits: bool = False) -> FeaturePair:
        """Return the features of student and teacher, and the logits of the student if `with_logits`."""
        network = cast(FeatureNetwork, self.student)
        logits, features = network.forward_with_features(image) if with_logits else (None, network.encode(image))
        with torch.no_grad():
            teacher = self._teacher_features(image)
        return FeaturePair(self.projection(features), teacher, logits)

    def train(self, mode: bool = True) -> Imitation:
        """Set the mode of the student and the projection; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _teacher_features(self, image: Tensor) -> Tensor:
        if not isinstance(self.teacher, PromptedNetwork):
            return cast(FeatureNetwork, self.teacher).encode(image[:, self.channels])
        middle = image[:, self.middle : self.middle + 1]
        if middle.shape[2:] != self.teacher.image_size:
            middle = F.interpolate(middle, self.teacher.image_size, mode="bilinear", align_corners=False)
        return self.teacher.encode(middle)

    def _teacher_channels(self, spatial_dims: int) -> int:
        if isinstance(self.teacher, PromptedNetwork):
            probe = torch.zeros(1, 1, *self.teacher.image_size, device=_device_of(self.teacher))
            return self.teacher.encode(probe).shape[1]
        return feature_channels(self.teacher, spatial_dims, len(self.channels))


def _device_of(network: nn.Module) -> torch.device:
    """Return the device of a network; a teacher that was used before may be on another device than a new student."""
    return next(network.parameters()).device
