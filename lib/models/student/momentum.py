"""A student and a slow copy of it, which must agree on two views of one place and on no other."""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.student.imitation import Seeing, width_of

HIDDEN, DIMENSION = 512, 128


def perceptron(in_channels: int, out_channels: int, *, layers: int) -> nn.Sequential:
    """Return linear layers with batch normalisation after each, ReLU between them; the last has no affine part."""
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
    """``q = predict(project(f(x)))`` of the student, ``k = project'(f'(x))`` of its slow copy.

    Args:
        student: Learns.
        spatial_dims: 2 or 3.
        in_channels: Of the student.
    Source:
        Chen, Xie & He 2021, MoCo v3, arXiv:2104.02057.
    """

    def __init__(self, student: nn.Module, *, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        self.student = student
        self.project = perceptron(width_of(student, spatial_dims, in_channels), DIMENSION, layers=3)
        self.predict = perceptron(DIMENSION, DIMENSION, layers=2)
        self.slow = nn.ModuleList([copy.deepcopy(self.student), copy.deepcopy(self.project)]).requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor, momentum: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return queries and keys of both views, ``(B, D)`` each, of length 1; the slow copy follows first.

        Args:
            first: One view, ``(B, C, *S)``.
            second: The other.
            momentum: Share of the slow copy that stays, in training.
        """
        queries = [self.predict(self.project(_pooled(self.student, view))) for view in (first, second)]
        with torch.no_grad():
            if self.training:
                self._follow(momentum)
            keys = [self.slow[1](_pooled(self.slow[0], view)) for view in (first, second)]
        ones = [F.normalize(each.float(), dim=1) for each in (*queries, *keys)]
        return ones[0], ones[1], ones[2], ones[3]

    def _follow(self, momentum: float) -> None:
        quick = [*self.student.parameters(), *self.project.parameters()]
        for mine, theirs in zip(self.slow.parameters(), quick, strict=True):
            mine.lerp_(theirs.detach(), 1 - momentum)


def _pooled(network: nn.Module, image: Tensor) -> Tensor:
    return cast(Seeing, network).encode(image).flatten(2).mean(2)
