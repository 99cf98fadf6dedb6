"""Haar transform in C++ and its inverse as torch operators; each is the gradient of the other."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from lib.ops.native.build import call, library


def supports(x: Tensor) -> bool:
    """Return whether the kernel is built and accepts a tensor: on a CPU, float32 or float64, and not empty."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.numel() > 0 and bool(library())


@torch.library.custom_op("topolabel::haar", mutates_args=(), device_types="cpu")
def haar_op(image: Tensor) -> Tensor:
    """Return the bands ``(B, *S / 2, 2**d, C)`` of a contiguous image ``(B, *S, C)`` with even S."""
    bands = image.new_empty(_bands_shape(image))
    _run(image, bands, image, inverse=False)
    return bands


@torch.library.custom_op("topolabel::haar_inverse", mutates_args=(), device_types="cpu")
def haar_inverse_op(bands: Tensor) -> Tensor:
    """Return the image ``(B, *S, C)`` of contiguous bands ``(B, *S / 2, 2**d, C)``."""
    image = bands.new_empty(_image_shape(bands))
    _run(bands, image, image, inverse=True)
    return image


def _bands_shape(image: Tensor) -> list[int]:
    batch, *shape, channels = image.shape
    return [batch, *(size // 2 for size in shape), 2 ** len(shape), channels]


def _image_shape(bands: Tensor) -> list[int]:
    batch, *shape, _, channels = bands.shape
    return [batch, *(2 * size for size in shape), channels]


def _run(source: Tensor, target: Tensor, image: Tensor, *, inverse: bool) -> None:
    batch, *shape, channels = image.shape
    sizes = (ctypes.c_int64 * 5)(batch, *[1] * (3 - len(shape)), *shape, channels)
    numbers = (ctypes.c_int64(n) for n in (len(shape), inverse, torch.get_num_threads()))
    call("haar", source.dtype, *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (source, target)), sizes, *numbers)


@haar_op.register_fake
def _(image: Tensor) -> Tensor:
    return image.new_empty(_bands_shape(image))


@haar_inverse_op.register_fake
def _(bands: Tensor) -> Tensor:
    return bands.new_empty(_image_shape(bands))


# The transform is orthonormal, so its transpose is its inverse.
def _haar_backward(ctx: Any, grad: Tensor) -> Tensor:
    return haar_inverse_op(grad.contiguous())


def _inverse_backward(ctx: Any, grad: Tensor) -> Tensor:
    return haar_op(grad.contiguous())


haar_op.register_autograd(_haar_backward)
haar_inverse_op.register_autograd(_inverse_backward)
