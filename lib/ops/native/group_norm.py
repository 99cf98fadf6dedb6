"""The C++ group normalisation of channels-last images as an operator of torch, with its gradient."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from lib.ops.native.build import call, library

_TENSORS = ("x", "weight", "bias", "y", "mean", "rstd")
_NUMBERS = ("batch", "pixels", "C", "groups", "threads")


class _Norm(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in _TENSORS),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_int64) for name in _NUMBERS),
    ]


def serves(x: Tensor, weight: Tensor) -> bool:
    """Say whether the kernel can take these: on a CPU, channels innermost in memory, of one precision, and built."""
    known = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.dtype == weight.dtype
    if not known or x.ndim not in (4, 5) or not x.numel() or x.numel() == x.shape[0] * x.shape[1]:
        return False
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return x.is_contiguous(memory_format=last) and bool(library())


@torch.library.custom_op("topolabel::group_norm", mutates_args=(), device_types="cpu")
def group_norm_op(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised image and each group's mean and inverse deviation, ``(B, G)``.

    Args:
        x: Image, contiguous, ``(B, *S, C)``.
        weight: ``(C,)``.
        bias: ``(C,)``.
        groups: G, which divides C.
        eps: Added to the variance.
    """
    y, mean, rstd = x.new_empty(x.shape), x.new_empty((len(x), groups)), x.new_empty((len(x), groups))
    problem = _problem(x, weight, bias, y, mean, rstd, eps)
    call("group_norm_forward", x.dtype, ctypes.byref(problem))
    return y, mean, rstd


@torch.library.custom_op("topolabel::group_norm_backward", mutates_args=(), device_types="cpu")
def group_norm_backward_op(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the normalised image with respect to x, weight and bias."""
    dx, dweight, dbias = x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape)
    problem = _problem(x, weight, None, None, mean, rstd, 0.0)
    pointers = (ctypes.c_void_p(each.data_ptr()) for each in (dy, dx, dweight, dbias))
    call("group_norm_backward", x.dtype, ctypes.byref(problem), *pointers)
    return dx, dweight, dbias


def _problem(
    x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor | None, mean: Tensor, rstd: Tensor, eps: float
) -> _Norm:
    pointers = [None if each is None else each.data_ptr() for each in (x, weight, bias, y, mean, rstd)]
    batch, channels = len(x), x.shape[-1]
    return _Norm(
        *pointers, eps, batch, x.numel() // (batch * channels), channels, mean.shape[1], torch.get_num_threads()
    )


@group_norm_op.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty((len(x), groups)), x.new_empty((len(x), groups))


@group_norm_backward_op.register_fake
def _(dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, *_ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, weight, *output[1:])


def _backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    return *group_norm_backward_op(dy.contiguous(), *ctx.saved_tensors), None, None


group_norm_op.register_autograd(_backward, setup_context=_setup)
