"""Both designs of the wavelet Mamba block."""

import pytest
import torch
from torch import nn

from lib.models.topowmamba.wmb import DESIGNS, ResidualWaveletMixer, SplitWaveletMixer, wavelet_mixer


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("shape", [(7, 10), (5, 6, 7)])
def test_the_shape_is_kept_on_odd_grids(design: str, shape: tuple[int, ...]) -> None:
    mixer = wavelet_mixer(design, len(shape), 4, nn.Identity())
    assert mixer(torch.rand(2, 4, *shape)).shape == (2, 4, *shape)


def test_the_residual_design_matches_values_worked_by_hand() -> None:
    mixer = ResidualWaveletMixer(2, 3, nn.Identity(), kernel_size=1)
    nn.init.ones_(mixer.conv.weight)
    x = torch.rand(1, 3, 6, 8)
    # If the convolution of the bands is the identity, the result is s0 x + s1 x.
    torch.testing.assert_close(mixer(x), 1.1 * x)


def test_the_split_design_scans_the_low_band_only() -> None:
    seen = []

    class Scan(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x

    mixer = SplitWaveletMixer(2, 3, Scan(), kernel_size=1)
    nn.init.ones_(mixer.conv.weight)
    nn.init.zeros_(mixer.gate.weight)
    nn.init.constant_(mixer.gate.bias, 50.0)
    x = torch.rand(1, 3, 6, 8)
    torch.testing.assert_close(mixer(x), x)
    torch.testing.assert_close(seen[0], 2 * nn.functional.avg_pool2d(x, 2))


def test_an_unknown_design_raises() -> None:
    with pytest.raises(ValueError, match="residual, split"):
        wavelet_mixer("both", 2, 4, nn.Identity())
