"""Wavelet Mamba block (WMB): a selective scan combined with the wavelet bands of an image.

The paper only says "hierarchical frequency decomposition", so this module has both public designs of that idea.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks.conv import convolution
from lib.models.blocks.layout import channels_last
from lib.ops.wavelet import dwt, idwt

DESIGNS = ("residual", "split")


class Scale(nn.Module):
    """A learned factor per channel; the module that contains it applies the factor.

    Args:
        spatial_dims: 2 or 3.
        channels: Number of factors.
        value: Initial value of the factors.
    """

    no_weight_decay = ("weight",)

    def __init__(self, spatial_dims: int, channels: int, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, *[1] * spatial_dims), value))


class ResidualWaveletMixer(nn.Module):
    """Scan plus a convolution of the bands: ``s0 scan(x) + IDWT(s1 DWConv_k(DWT(x)))``, initially s0 = 1, s1 = 0.1.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        scan: Scan module, ``(B, C, *S) -> (B, C, *S)``.
        wavelet: PyWavelets name of the wavelet.
        kernel_size: Kernel size of the depthwise convolution, in samples of a band.
    Source:
        He et al. 2024, MobileMamba, arXiv:2411.15941 (wavelet branch).
    """

    def __init__(
        self, spatial_dims: int, channels: int, scan: nn.Module, *, wavelet: str = "haar", kernel_size: int = 5
    ) -> None:
        super().__init__()
        bands = 2**spatial_dims * channels
        self.scan, self.wavelet = scan, wavelet
        self.base_scale = Scale(spatial_dims, channels, 1.0)
        self.conv = convolution(spatial_dims, bands, bands, kernel_size, groups=bands, bias=False)
        self.wavelet_scale = Scale(spatial_dims, bands, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mixed image, ``(B, C, *S)``."""
        bands = dwt(x, self.wavelet)
        count, channels = bands.shape[2], bands.shape[1]
        # The wavelet kernel stores all channels of a band before the next band, but the parameters store all bands of a
        # channel together, so reorder the filters. Scale the filters, which has the same effect as scaling the output.
        filters = (self.conv.weight * self.wavelet_scale.weight.unsqueeze(1)).unflatten(0, (channels, count))
        # Set the layout explicitly, because torch cannot infer it from the strides if the batch has a single image.
        filters = channels_last(filters.transpose(0, 1).flatten(0, 1))
        by_band = bands.transpose(1, 2).flatten(1, 2)
        convolve = F.conv2d if x.ndim == 4 else F.conv3d
        filtered = convolve(by_band, filters, padding=self.conv.padding, groups=len(filters))
        details = idwt(filtered.unflatten(1, (count, channels)).transpose(1, 2), x.shape[2:], self.wavelet)
        return torch.addcmul(details, self.scan(x), self.base_scale.weight)


class SplitWaveletMixer(nn.Module):
    """Scan the low band, convolve the high bands with a gate computed from the low band, and invert the transform.

    ``low' = scan(low)``, ``high' = DWConv_k(high) * sigmoid(Conv_1(low'))``, ``out = IDWT(low', high')``. This design
    is the faster one, because the scan runs on ``1 / 2**d`` of the positions.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the input and the output.
        scan: Scan module, ``(B, C, *S) -> (B, C, *S)``.
        wavelet: PyWavelets name of the wavelet.
        kernel_size: Kernel size of the depthwise convolution, in samples of a band.
    Source:
        The idea is from Zou et al. 2024, Wave-Mamba, arXiv:2408.01276; the gate is this project's.
    """

    def __init__(
        self, spatial_dims: int, channels: int, scan: nn.Module, *, wavelet: str = "haar", kernel_size: int = 5
    ) -> None:
        super().__init__()
        high = (2**spatial_dims - 1) * channels
        self.scan, self.wavelet = scan, wavelet
        self.conv = convolution(spatial_dims, high, high, kernel_size, groups=high, bias=False)
        self.gate = convolution(spatial_dims, channels, high, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mixed image, ``(B, C, *S)``."""
        bands = dwt(x, self.wavelet)
        low, high = self.scan(bands[:, :, 0]), bands[:, :, 1:]
        high = (self.conv(high.flatten(1, 2)) * torch.sigmoid(self.gate(low))).view_as(high)
        return idwt(torch.cat([low.unsqueeze(2), high], dim=2), x.shape[2:], self.wavelet)


def wavelet_mixer(
    design: str, spatial_dims: int, channels: int, scan: nn.Module, *, wavelet: str = "haar", kernel_size: int = 5
) -> nn.Module:
    """Build the mixer of a named design, ``"residual"`` or ``"split"``, with a scan.

    Raises:
        ValueError: If the design is unknown.
    """
    if design not in DESIGNS:
        raise ValueError(f"unknown wavelet design {design!r}; use one of {', '.join(DESIGNS)}")
    mixer = ResidualWaveletMixer if design == "residual" else SplitWaveletMixer
    return mixer(spatial_dims, channels, scan, wavelet=wavelet, kernel_size=kernel_size)
