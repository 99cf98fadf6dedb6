"""Sampling along bent strips in C++ as a torch operator, with its gradient."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from lib.ops.native.build import call, library

_NUMBERS = ("batch", "dims", "depth", "height", "width", "channels", "taps", "axis", "threads")


class _Strip(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("x", "curves", "samples")] + [
        (name, ctypes.c_int64) for name in _NUMBERS
    ]


def supports(x: Tensor, curves: Tensor) -> bool:
    """Return whether the kernel is built and accepts the tensors: on a CPU, both float32 or both float64, not empty."""
    fit = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    return fit and x.dtype == curves.dtype and x.numel() > 0 and bool(library())


@torch.library.custom_op("topolabel::snake_samples", mutates_args=(), device_types="cpu")
def snake_op(x: Tensor, curves: Tensor, axis: int) -> Tensor:
    """Return the samples along each curve, interpolated linearly across the axis and clamped at the border.

    Args:
        x: Image, contiguous, ``(B, *S, C)``.
        curves: Distance of each of the k samples from the axis, contiguous, ``(B, *S, d - 1, k)``, in samples.
        axis: Spatial axis of the strip; 0 is the first axis of S.
    Returns:
        ``(B, *S, k, C)``.
    """
    samples = x.new_empty(_shape(x, curves))
    strip = _strip(x, curves, samples, axis)
    call("snake_forward", x.dtype, ctypes.byref(strip))
    return samples


@torch.library.custom_op("topolabel::snake_samples_backward", mutates_args=(), device_types="cpu")
def snake_backward_op(grad: Tensor, x: Tensor, curves: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of `snake_op` with respect to its two tensors."""
    dx, dcurves = x.new_empty(x.shape), curves.new_empty(curves.shape)
    strip = _strip(x, curves, None, axis)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (grad, dx, dcurves))
    call("snake_backward", x.dtype, ctypes.byref(strip), *pointers)
    return dx, dcurves


def _shape(x: Tensor, curves: Tensor) -> list[int]:
    return [*x.shape[:-1], curves.shape[-1], x.shape[-1]]


def _strip(x: Tensor, curves: Tensor, samples: Tensor | None, axis: int) -> _Strip:
    batch, *shape, channels = x.shape
    missing = 3 - len(shape)
    sizes = (batch, len(shape), *[1] * missing, *shape, channels, curves.shape[-1], axis + missing)
    target = None if samples is None else samples.data_ptr()
    return _Strip(x.data_ptr(), curves.data_ptr(), target, *sizes, torch.get_num_threads())


@snake_op.register_fake
def _(x: Tensor, curves: Tensor, axis: int) -> Tensor:
    return x.new_empty(_shape(x, curves))


@snake_backward_op.register_fake
def _(grad: Tensor, x: Tensor, curves: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(curves)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, curves, ctx.axis = inputs
    ctx.save_for_backward(x, curves)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *snake_backward_op(grad.contiguous(), *ctx.saved_tensors, ctx.axis), None


snake_op.register_autograd(_backward, setup_context=_setup)
