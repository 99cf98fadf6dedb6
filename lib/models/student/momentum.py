"""Momentum contrast: a student and its slowly updated copy, for contrastive learning of two views of a patch."""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.student.imitation import FeatureNetwork, feature_channels

HIDDEN, DIMENSION = 512, 128


def perceptron(in_channels: int, out_channels: int, *, layers: int) -> nn.Sequential:
    """Build linear layers, all followed by batch normalisation, with ReLU between them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        layers: Number of linear layers; the last normalisation has no affine part.
    """
    sizes = [in_channels, *[HIDDEN] * (layers - 1), out_channels]
    parts: list[nn.Module] = []
    for index in range(layers):
        last = index == layers - 1
        parts += [
            nn.Linear(sizes[index], sizes[index + 1], bias=False),
            nn.BatchNorm1d(sizes[index + 1], affine=not last),
        ]
        parts += [] if last else [nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


class MomentumPair(nn.Module):
    """Queries ``q = predict(project(f(x)))`` of the student and keys ``k = project'(f'(x))`` of its slow copy.

    Args:
        student: Network f that is trained.
        spatial_dims: 2 or 3.
        in_channels: Input channels of the student.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057.
    """

    def __init__(self, student: nn.Module, *, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        self.student = student
        self.project = perceptron(feature_channels(student, spatial_dims, in_channels), DIMENSION, layers=3)
        self.predict = perceptron(DIMENSION, DIMENSION, layers=2)
        self.slow = nn.ModuleList([copy.deepcopy(self.student), copy.deepcopy(self.project)]).requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor, momentum: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Update the slow copy in training, and return the queries and the keys of two views.

        Args:
            first: First view, ``(B, C, *S)``.
            second: Second view, ``(B, C, *S)``.
            momentum: Weight of the old values of the slow copy in its update, in [0, 1].
        Returns:
            Query of the first view, query of the second, key of the first, key of the second; each ``(B, D)`` with norm
            1.
        """
        queries = [self.predict(self.project(_pooled(self.student, view))) for view in (first, second)]
        with torch.no_grad():
            if self.training:
                self._update_slow_copy(momentum)
            keys = [self.slow[1](_pooled(self.slow[0], view)) for view in (first, second)]
        units = [F.normalize(vectors.float(), dim=1) for vectors in (*queries, *keys)]
        return units[0], units[1], units[2], units[3]

    def _update_slow_copy(self, momentum: float) -> None:
        trained_parameters = [*self.student.parameters(), *self.project.parameters()]
        for slow, trained in zip(self.slow.parameters(), trained_parameters, strict=True):
            slow.lerp_(trained.detach(), 1 - momentum)


def _pooled(network: nn.Module, image: Tensor) -> Tensor:
    return cast(FeatureNetwork, network).encode(image).flatten(2).mean(2)
