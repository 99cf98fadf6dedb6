"""Selective scan over an image (SS2D and SS3D, by the same class), and the residual block around it."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks.conv import ChannelNorm, convolution
from lib.ops.selective_scan import image_scan, scan_orders

DT_MIN, DT_MAX = 1e-3, 0.1


def draw_dt_bias(*shape: int) -> torch.Tensor:
    """Draw biases whose softplus is log-uniform in [1e-3, 0.1]; these are the initial step sizes of a scan."""
    dt = torch.exp(torch.empty(shape).uniform_(math.log(DT_MIN), math.log(DT_MAX)))
    return dt + torch.log(-torch.expm1(-dt))


class DropPath(nn.Module):
    """Stochastic depth: in training, set the branch of a sample to zero at random, and scale up the other branches.

    Args:
        drop_prob: Probability of dropping, in [0, 1).
    Raises:
        ValueError: If `drop_prob` is outside [0, 1).
    Source:
        Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_prob < 1.0:
            raise ValueError(f"drop_prob must lie in [0, 1), got {drop_prob}")
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x (B, ...)`` with zeros for the dropped samples."""
        if not self.training or self.drop_prob == 0.0:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1.0 - self.drop_prob)
        return x * keep.div_(1.0 - self.drop_prob)


def drop_rates(last: float, count: int) -> list[float]:
    """Return `count` drop probabilities that increase linearly from 0 to `last`, as in stochastic depth."""
    return [last * i / max(count - 1, 1) for i in range(count)]


class SelectiveScanBlock(nn.Module):
    """Scan an image forwards and backwards along its axes or other paths, sum the scans, and gate the sum.

    ``out = Linear(LN(merge(scan(SiLU(DWConv(x'))))) * SiLU(z))`` with ``x', z = Linear(x)``. The state spaces depend on
    the input. There are four scans in 2-D and six in 3-D.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        d_state: States per channel; VMamba v2 uses 1, which is fast.
        expand: Ratio of the inner channels to `channels`.
        dt_rank: Rank of the step-size projection; ``ceil(channels / 16)`` by default.
        kernel_size: Kernel size of the depthwise convolution, in samples.
        paths: Paths of the scans: ``"axes"``, ``"diagonals"`` or ``"hilbert"``; the number of scans is the same.
    Raises:
        ValueError: If `spatial_dims` is not 2 or 3; in the first forward pass, if `paths` is unknown.
    Source:
        Liu et al. 2024, VMamba, arXiv:2401.10166, the first public version, which VM-UNet uses.
    """

    no_weight_decay = ("A_logs", "Ds", "dt_projs_bias")

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        d_state: int = 16,
        expand: float = 2.0,
        dt_rank: int | None = None,
        kernel_size: int = 3,
        paths: str = "axes",
    ) -> None:
        super().__init__()
        self.paths = paths
        inner, directions = int(expand * channels), 2 * spatial_dims
        rank = math.ceil(channels / 16) if dt_rank is None else dt_rank
        self.d_state, self.dt_rank, self.d_inner = d_state, rank, inner
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv = convolution(spatial_dims, inner, inner, kernel_size, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.empty(directions, rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(directions, inner, rank))
        self.dt_projs_bias = nn.Parameter(draw_dt_bias(directions, inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(directions * inner, 1))
        self.Ds = nn.Parameter(torch.ones(directions * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for projection in (self.in_proj, self.out_proj):
            nn.init.trunc_normal_(projection.weight, std=0.02)
        nn.init.uniform_(self.x_proj_weight, -(self.d_inner**-0.5), self.d_inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mixed image ``(B, C, *S)`` of ``x (B, C, *S)``."""
        # Compute two products instead of splitting one, so that both results are contiguous.
        x, gate = (F.linear(x.movedim(1, -1), half) for half in self.in_proj.weight.chunk(2))
        y = self.scan(F.silu(self.conv(x.movedim(-1, 1))))
        y = self.out_norm(y.movedim(1, -1)) * F.silu(gate)
        return self.out_proj(y).movedim(-1, 1)

    def scan(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of the scans ``(B, E, *S)`` of ``x (B, E, *S)``."""
        tokens = x.flatten(2).transpose(1, 2)
        # The parameters are linear in a token, so compute them once in the order of the image, not once per direction.
        parameters = F.linear(tokens, self.x_proj_weight.flatten(0, 1)).unflatten(-1, self.x_proj_weight.shape[:2])
        dt, b, c = parameters.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        y = image_scan(
            tokens,
            dt,
            self.dt_projs_weight,
            -torch.exp(self.A_logs.float()),
            b,
            c,
            self.Ds,
            self.dt_projs_bias.flatten(),
            _orders(x.shape[2:], x.device, self.paths),
        )
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


@functools.lru_cache(maxsize=64)
def _orders(shape: torch.Size, device: torch.device, paths: str) -> torch.Tensor:
    # A cached tensor that is created in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return scan_orders(shape, device, paths=paths)


class VSSBlock(nn.Module):
    """Residual block with a token mixer and no feed-forward part: ``x + DropPath(mixer(LN(x)))``.

    Args:
        channels: Channels of the input and the output.
        mixer: Token mixer, ``(B, C, *S) -> (B, C, *S)``.
        drop_path: Probability of dropping the branch of the mixer.
    """

    def __init__(self, channels: int, mixer: nn.Module, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.mixer = mixer
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, ``(B, C, *S)``."""
        return x + self.drop_path(self.mixer(self.norm(x)))
