"""The wavelet transform reconstructs perfectly, keeps the energy, and agrees with PyWavelets."""

import pytest
import pywt
import torch

from lib.ops.wavelet import dwt, idwt

WAVELETS = ("haar", "db2", "sym4", "coif1", "bior2.2")


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("shape", [(8, 12), (7, 9), (8, 6, 10), (5, 6, 7)])
def test_reconstruction_is_perfect(wavelet: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    bands = dwt(x, wavelet)
    assert bands.shape == (2, 3, 2 ** len(shape), *(-(-size // 2) for size in shape))
    assert (idwt(bands, shape, wavelet) - x).abs().max() < 1e-6


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("shape", [(8, 12), (7, 10), (8, 6, 10)])
def test_bands_equal_those_of_pywavelets(wavelet: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(1, 1, *shape, dtype=torch.float64)
    reference = pywt.dwtn(x[0, 0].numpy(), wavelet, mode="periodization")
    for index, band in enumerate(dwt(x, wavelet)[0, 0]):
        name = format(index, f"0{len(shape)}b").replace("0", "a").replace("1", "d")
        torch.testing.assert_close(band, torch.from_numpy(reference[name]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(8, 12), (4, 6, 8)])
def test_haar_keeps_energy_and_its_low_band_is_the_mean(shape: tuple[int, ...]) -> None:
    x = torch.randn(1, 2, *shape, dtype=torch.float64)
    bands = dwt(x)
    assert bands.square().sum().item() == pytest.approx(x.square().sum().item())
    pool = torch.nn.functional.avg_pool2d if len(shape) == 2 else torch.nn.functional.avg_pool3d
    torch.testing.assert_close(bands[:, :, 0], 2 ** (len(shape) / 2) * pool(x, 2))


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_gradcheck(wavelet: str) -> None:
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image: dwt(image, wavelet), x)
    assert torch.autograd.gradcheck(lambda image: idwt(dwt(image, wavelet), (5, 6), wavelet), x)


def test_bad_arguments_raise() -> None:
    with pytest.raises(ValueError, match="two or three"):
        dwt(torch.zeros(1, 1, 8))
    with pytest.raises(ValueError, match="do not fit"):
        idwt(torch.zeros(1, 1, 4, 4, 4), (8, 9))
    with pytest.raises(ValueError, match="nonesuch"):
        dwt(torch.zeros(1, 1, 8, 8), "nonesuch")
