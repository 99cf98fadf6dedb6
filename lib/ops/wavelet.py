"""The discrete wavelet transform of one level and its inverse, in 2-D and 3-D."""

from collections.abc import Sequence

import pywt
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.ops.native import haar

_SQRT_HALF = 0.5**0.5


def dwt(x: Tensor, wavelet: str = "haar") -> Tensor:
    """Return the bands of `x`, periodised; an odd axis repeats its last sample first.

    Args:
        x: Image, ``(B, C, *S)``, with two or three spatial axes.
        wavelet: A discrete wavelet by its PyWavelets name.
    Returns:
        ``(B, C, 2**d, *ceil(S / 2))``; the Haar kernel leaves C, then the bands, innermost in memory. The bits of a
        band's index say high (1) or low (0), the first axis in the highest bit: band 0 is low everywhere, in 2-D the
        order is LL, LH, HL, HH.
    Raises:
        ValueError: If the wavelet does not exist or `x` has not two or three spatial axes.
    Source:
        Mallat 1989; the phase is that of PyWavelets' mode "periodization".
    """
    dims = _spatial_dims(x.ndim - 2)
    if any(size % 2 for size in x.shape[2:]):
        x = F.pad(x, [n for size in reversed(x.shape[2:]) for n in (0, size % 2)], mode="replicate")
    if wavelet == "haar" and haar.serves(x):
        return haar.haar_op(x.movedim(1, -1).contiguous()).movedim((-1, -2), (1, 2))
    bands = x.unsqueeze(2)
    for axis in range(3, 3 + dims):
        low, high = _split(bands, axis, wavelet)
        bands = torch.stack((low, high), 3).flatten(2, 3)
    return bands


def idwt(bands: Tensor, shape: Sequence[int], wavelet: str = "haar") -> Tensor:
    """Return the image whose bands these are.

    Args:
        bands: As of `dwt`, ``(B, C, 2**d, *ceil(S / 2))``.
        shape: Spatial shape S of the image; what an odd axis was padded by is cropped.
        wavelet: The wavelet of `dwt`.
    Returns:
        ``(B, C, *S)``.
    Raises:
        ValueError: If the wavelet does not exist or `shape` does not fit the bands.
    """
    dims = _spatial_dims(len(shape))
    if bands.shape[2:] != (2**dims, *(-(-size // 2) for size in shape)):
        raise ValueError(f"bands {tuple(bands.shape)} do not fit an image of shape {tuple(shape)}")
    if wavelet == "haar" and haar.serves(bands):
        image = haar.haar_inverse_op(bands.movedim((1, 2), (-1, -2)).contiguous()).movedim(-1, 1)
    else:
        for axis in reversed(range(3, 3 + dims)):
            low, high = bands.unflatten(2, (-1, 2)).unbind(3)
            bands = _join(low, high, axis, wavelet)
        image = bands.squeeze(2)
    return image[(..., *(slice(size) for size in shape))]


def _split(x: Tensor, axis: int, wavelet: str) -> tuple[Tensor, Tensor]:
    """Return the low and the high half of an even axis."""
    if wavelet == "haar":
        even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        return (even + odd) * _SQRT_HALF, (even - odd) * _SQRT_HALF
    low, high, _, _ = _filters(wavelet, x)
    places = _places(x.shape[axis], len(low), x.device)
    samples = x.movedim(axis, -1)[..., places]
    return (samples @ low).movedim(-1, axis), (samples @ high).movedim(-1, axis)


def _join(low: Tensor, high: Tensor, axis: int, wavelet: str) -> Tensor:
    """Return the axis whose halves these are."""
    if wavelet == "haar":
        return torch.stack(((low + high) * _SQRT_HALF, (low - high) * _SQRT_HALF), axis + 1).flatten(axis, axis + 1)
    _, _, low_filter, high_filter = _filters(wavelet, low)
    places = _places(2 * low.shape[axis], len(low_filter), low.device)
    # Synthesis sends each coefficient to the samples it came from, through the dual filters turned round.
    sent = low.movedim(axis, -1)[..., None] * low_filter.flip(0)
    sent = sent + high.movedim(axis, -1)[..., None] * high_filter.flip(0)
    joined = sent.new_zeros(*sent.shape[:-2], 2 * low.shape[axis])
    return joined.index_add(-1, places.flatten(), sent.flatten(-2)).movedim(-1, axis)


def _places(size: int, taps: int, device: torch.device) -> Tensor:
    """Return the sample that each tap of each coefficient reads, ``(size / 2, taps)``, periodic."""
    first = 2 * torch.arange(size // 2, device=device)[:, None] + taps // 2
    return (first - torch.arange(taps, device=device)) % size


def _filters(wavelet: str, like: Tensor) -> list[Tensor]:
    """Return the filters: analysis low and high, synthesis low and high."""
    bank = pywt.Wavelet(wavelet).filter_bank  # pyright: ignore[reportAttributeAccessIssue]  (a compiled class)
    return [torch.tensor(taps, dtype=like.dtype, device=like.device) for taps in bank]


def _spatial_dims(dims: int) -> int:
    if dims not in (2, 3):
        raise ValueError(f"the transform takes two or three spatial axes, not {dims}")
    return dims
