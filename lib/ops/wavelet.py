"""Discrete wavelet transform of one level and its inverse, in 2-D and 3-D."""

from collections.abc import Sequence

import pywt
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.ops.native import haar

_SQRT_HALF = 0.5**0.5


def dwt(x: Tensor, wavelet: str = "haar") -> Tensor:
    """Return the bands of `x` with periodic borders; an axis of odd length is extended by its last sample.

    Args:
        x: Image, ``(B, C, *S)``, with two or three spatial axes.
        wavelet: PyWavelets name of a discrete wavelet.
    Returns:
        ``(B, C, 2**d, *ceil(S / 2))``. A bit of the band index is 1 for high-pass and 0 for low-pass; the first axis
        has the highest bit. Band 0 is low-pass along every axis, and in 2-D the order is LL, LH, HL, HH. The result of
        the Haar kernel has C innermost in memory, then the bands.
    Raises:
        ValueError: If the wavelet does not exist or `x` does not have two or three spatial axes.
    Source:
        Mallat 1989; the phase is that of PyWavelets' mode "periodization".
    """
    dims = _spatial_dims(x.ndim - 2)
    if any(size % 2 for size in x.shape[2:]):
        x = F.pad(x, [n for size in reversed(x.shape[2:]) for n in (0, size % 2)], mode="replicate")
    if wavelet == "haar" and haar.supports(x):
        return haar.haar_op(x.movedim(1, -1).contiguous()).movedim((-1, -2), (1, 2))
    bands = x.unsqueeze(2)
    for axis in range(3, 3 + dims):
        low, high = _split(bands, axis, wavelet)
        bands = torch.stack((low, high), 3).flatten(2, 3)
    return bands


def idwt(bands: Tensor, shape: Sequence[int], wavelet: str = "haar") -> Tensor:
    """Return the image of the given bands: the inverse of `dwt`.

    Args:
        bands: Bands as returned by `dwt`, ``(B, C, 2**d, *ceil(S / 2))``.
        shape: Spatial shape S of the image; the padding of an odd axis is cropped.
        wavelet: The wavelet that was given to `dwt`.
    Returns:
        ``(B, C, *S)``.
    Raises:
        ValueError: If the wavelet does not exist or `shape` does not fit the bands.
    """
    dims = _spatial_dims(len(shape))
    if bands.shape[2:] != (2**dims, *(-(-size // 2) for size in shape)):
        raise ValueError(f"bands {tuple(bands.shape)} do not fit an image of shape {tuple(shape)}")
    if wavelet == "haar" and haar.supports(bands):
        image = haar.haar_inverse_op(bands.movedim((1, 2), (-1, -2)).contiguous()).movedim(-1, 1)
    else:
        for axis in reversed(range(3, 3 + dims)):
            low, high = bands.unflatten(2, (-1, 2)).unbind(3)
            bands = _join(low, high, axis, wavelet)
        image = bands.squeeze(2)
    return image[(..., *(slice(size) for size in shape))]


def _split(x: Tensor, axis: int, wavelet: str) -> tuple[Tensor, Tensor]:
    """Return the low-pass and the high-pass half of an axis of even length."""
    if wavelet == "haar":
        even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        return (even + odd) * _SQRT_HALF, (even - odd) * _SQRT_HALF
    low, high, _, _ = _filters(wavelet, x)
    indices = _tap_indices(x.shape[axis], len(low), x.device)
    samples = x.movedim(axis, -1)[..., indices]
    return (samples @ low).movedim(-1, axis), (samples @ high).movedim(-1, axis)


def _join(low: Tensor, high: Tensor, axis: int, wavelet: str) -> Tensor:
    """Return the axis of the given low-pass and high-pass halves: the inverse of `_split`."""
    if wavelet == "haar":
        return torch.stack(((low + high) * _SQRT_HALF, (low - high) * _SQRT_HALF), axis + 1).flatten(axis, axis + 1)
    _, _, low_filter, high_filter = _filters(wavelet, low)
    indices = _tap_indices(2 * low.shape[axis], len(low_filter), low.device)
    # Synthesis adds each coefficient to the samples that it was computed from, weighted by the reversed dual filters.
    terms = low.movedim(axis, -1)[..., None] * low_filter.flip(0)
    terms = terms + high.movedim(axis, -1)[..., None] * high_filter.flip(0)
    joined = terms.new_zeros(*terms.shape[:-2], 2 * low.shape[axis])
    return joined.index_add(-1, indices.flatten(), terms.flatten(-2)).movedim(-1, axis)


def _tap_indices(size: int, taps: int, device: torch.device) -> Tensor:
    """Return the index of the sample that each tap of each coefficient reads, ``(size / 2, taps)``, periodic."""
    first = 2 * torch.arange(size // 2, device=device)[:, None] + taps // 2
    return (first - torch.arange(taps, device=device)) % size


def _filters(wavelet: str, like: Tensor) -> list[Tensor]:
    """Return four filters, each ``(taps,)``: analysis low-pass and high-pass, synthesis low-pass and high-pass."""
    bank = pywt.Wavelet(wavelet).filter_bank  # pyright: ignore[reportAttributeAccessIssue]  (a compiled class)
    return [torch.tensor(taps, dtype=like.dtype, device=like.device) for taps in bank]


def _spatial_dims(dims: int) -> int:
    if dims not in (2, 3):
        raise ValueError(f"the wavelet transform needs two or three spatial axes, got {dims}")
    return dims
