"""Several predictions for one image in one pass: augmented views, Monte Carlo dropout, or several model versions."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from lib.models.blocks.ss2d import DropPath
from lib.ops.mirror import Mirroring

INTENSITY_SHIFT = 30.0 / 1400.0
"""Step of the intensity shift between augmented views, as a fraction of the usual range (30 HU for the airway)."""
STANDARDISED_RANGE = 4.0
"""Usual range of an image with mean 0 and standard deviation 1: two standard deviations on each side."""
_DROPOUT_LAYERS = (_DropoutNd, DropPath)


class MemberStack(nn.Module):
    """Apply several networks to an image, and concatenate their logits.

    Args:
        members: Networks with the same classes, each with logits ``(B, K, *S)``.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the T members, ``(B, T * K, *S)``, in the order of the members."""
        return torch.cat([member(x) for member in self.members], dim=1)


class AugmentedView(nn.Module):
    """Apply a network to a mirrored or intensity-shifted image, as test-time augmentation.

    Args:
        network: Network with logits ``(B, K, *S)``.
        mirroring: Classes that are exchanged when the image is mirrored left to right, and its logits back; None leaves
            the orientation as it is.
        shift: Shift of the image, as a fraction of its usual range.
        standardised: Whether images have mean 0 and standard deviation 1; other images are in [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        mirroring: Mirroring | None = None,
        shift: float = 0.0,
        standardised: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.mirroring, self.shift, self.standardised = network, mirroring, shift, standardised

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits in the orientation of ``x (B, C, *S)``, ``(B, K, *S)``."""
        if self.shift:
            x = x + STANDARDISED_RANGE * self.shift if self.standardised else (x + self.shift).clamp(0, 1)
        if self.mirroring is None:
            return self.network(x)
        return self.mirroring.exchange_channels(self.network(x.flip(2)).flip(2), axis=1)


class MonteCarloDropout(nn.Module):
    """Keep dropout and stochastic depth of a network active in evaluation mode.

    Args:
        network: A network with dropout or stochastic depth.
    Raises:
        ValueError: If the network has neither.
    Source:
        Gal & Ghahramani 2016, arXiv:1506.02142.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._dropout_layers = [
            m for m in network.modules() if isinstance(m, _DROPOUT_LAYERS) and _drop_probability(m) > 0
        ]
        if not self._dropout_layers:
            raise ValueError("the network has no dropout and no stochastic depth, so all its samples would be equal")

    def train(self, mode: bool = True) -> "MonteCarloDropout":
        """Set the mode of all layers except dropout and stochastic depth, which stay active."""
        super().train(mode)
        for module in self._dropout_layers:
            module.train(True)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, *S)``, which differ at random from call to call."""
        return self.network(x)


def augmented_views(network: nn.Module, count: int, standardised: bool, mirroring: Mirroring | None) -> list[nn.Module]:
    """Return views of a network: unchanged, mirrored, brighter, darker and mirrored, and so on.

    A network that is trained without mirrored patches (`lib.data.patches.augment`) gets no mirrored view: unchanged,
    brighter, darker, and so on.

    Args:
        network: Network with logits ``(B, K, *S)``.
        count: Number of views.
        standardised: Whether images have mean 0 and standard deviation 1; other images are in [0, 1].
        mirroring: Classes that a mirrored view exchanges; None for no mirrored views.
    """
    shifts = [0.0, *(sign * step * INTENSITY_SHIFT for step in range(1, count) for sign in (1, -1))]
    if mirroring is None:
        return [AugmentedView(network, shift=shift, standardised=standardised) for shift in shifts[:count]]
    # The second view differs from the first by its orientation alone.
    shifts = [0.0, *shifts][:count]
    kinds = [mirroring if number % 2 else None for number in range(count)]
    return [
        AugmentedView(network, mirroring=kind, shift=shift, standardised=standardised)
        for kind, shift in zip(kinds, shifts, strict=True)
    ]


def _drop_probability(module: nn.Module) -> float:
    return float(getattr(module, "drop_prob", getattr(module, "p", 0.0)))
