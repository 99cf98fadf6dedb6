"""Several answers to one image, side by side in one pass: views of it, dropout left on, or several versions."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from lib.models.blocks.ss2d import DropPath

SHIFT_HU = 30.0
"""By so much calibration shifts from one view to the next but one."""
_DROPPING = (_DropoutNd, DropPath)


class Samples(nn.Module):
    """Run an image through every member.

    Args:
        members: Networks of the same classes, logits ``(B, K, *S)`` each.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of all, ``(B, T * K, *S)``, the members one after the other."""
        return torch.cat([member(x) for member in self.members], dim=1)


class View(nn.Module):
    """Show a network the image mirrored left and right, or in a scanner that is calibrated otherwise.

    Args:
        network: Logits ``(B, K, *S)``.
        mirrored: Whether the image is turned over, and the answer back.
        shift: Added to the windowed image, a share of the window.
    """

    def __init__(self, network: nn.Module, *, mirrored: bool = False, shift: float = 0.0) -> None:
        super().__init__()
        self.network, self.mirrored, self.shift = network, mirrored, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the image as it lies."""
        if self.shift:
            x = (x + self.shift).clamp(0, 1)
        return self.network(x.flip(2)).flip(2) if self.mirrored else self.network(x)


class Dropping(nn.Module):
    """Let a network drop in evaluation as it did in training.

    Args:
        network: One with dropout or stochastic depth.
    Raises:
        ValueError: If it has neither.
    Source:
        Gal & Ghahramani 2016, arXiv:1506.02142.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._dropping = [m for m in network.modules() if isinstance(m, _DROPPING) and _rate(m) > 0]
        if not self._dropping:
            raise ValueError("the network drops nothing in training, so that its answers would all be the same")

    def train(self, mode: bool = True) -> "Dropping":
        """Switch everything but what drops."""
        super().train(mode)
        for module in self._dropping:
            module.train(True)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, drawn anew at every call."""
        return self.network(x)


def views(network: nn.Module, count: int, window_hu: Sequence[float]) -> list[nn.Module]:
    """Return a network's views: as it is, mirrored, brighter, darker and mirrored, and so on.

    Networks of this project learn from mirrored patches (`lib.data.patches.augment`), so their labels have no side.

    Args:
        network: Logits ``(B, K, *S)``.
        count: Views.
        window_hu: The Hounsfield units that the image's 0 and 1 stand for.
    """
    steps = [0, 0, *(sign * step for step in range(1, count) for sign in (1, -1))][:count]
    unit = SHIFT_HU / (window_hu[1] - window_hu[0])
    return [View(network, mirrored=number % 2 == 1, shift=step * unit) for number, step in enumerate(steps)]


def _rate(module: nn.Module) -> float:
    return float(getattr(module, "drop_prob", getattr(module, "p", 0.0)))
