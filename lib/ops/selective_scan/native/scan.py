"""The C++ scan as an operator of torch, with shapes for tracing and its gradient."""

import ctypes
from math import e, log2
from typing import Any

import torch
from torch import Tensor

from lib.ops.selective_scan.native.build import library, machine_isa, open_library
from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES = 64


class _Problem(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("u", "delta", "A", "B", "C", "D", "bias", "y", "order")] + [
        (name, ctypes.c_int64) for name in ("batch", "L", "E", "G", "N", "use_softplus", "threads")
    ]


class _Gradients(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("dy", "du", "ddelta", "dA", "dB", "dC", "dD", "dbias")]


def serves(u: Tensor, A: Tensor) -> bool:
    """Say whether the C++ scan can take these operands: on a CPU, not empty, at most 64 states, and built."""
    return u.device.type == "cpu" and u.numel() > 0 and A.shape[-1] <= MAX_STATES and library() is not None


def selective_scan_native(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Return the selective scan of `u` on a CPU; arguments and result are those of `selective_scan_reference`.

    Args:
        u: Input sequence, ``(B, E, L)``. Memory with E innermost is read without a copy.
        delta: Step sizes before bias and softplus, ``(B, E, L)``.
        A: State matrix, ``(E, N)``.
        B: Input matrix, ``(B, G, N, L)``.
        C: Output matrix, ``(B, G, N, L)``.
        D: Skip connection, ``(E,)``.
        delta_bias: Added to `delta`, ``(E,)``.
        delta_softplus: Whether to pass the biased `delta` through softplus.
    Returns:
        ``(B, E, L)``, dtype of ``u``, with E innermost in memory; computed in float32, or float64 where it comes in.
    Raises:
        ValueError: If shapes disagree.
    Source:
        Gu & Dao 2023, arXiv:2312.00752, section 3.3 (states in fast memory, recomputed in the backward pass).
    """
    check_scan(u, delta, A, B, C)
    dtype = scan_dtype(u, delta, A)
    D, bias = (A.new_zeros(len(A)) if each is None else each for each in (D, delta_bias))
    operands = [u.transpose(1, 2), delta.transpose(1, 2), A, B.permute(0, 3, 1, 2), C.permute(0, 3, 1, 2), D, bias]
    y = scan_op(*(each.to(dtype).contiguous() for each in operands), None, delta_softplus)
    return y.to(u.dtype).transpose(1, 2)


def image_scan_native(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    order: Tensor,
) -> Tensor:
    """Return the sum of the scans of one image on a CPU; arguments and result are those of `image_scan`."""
    dtype = scan_dtype(u, delta, A)
    operands = (u, delta, A, B, C, D, delta_bias)
    y = scan_op(*(each.to(dtype).contiguous() for each in operands), order.int().contiguous(), True)
    return y.to(u.dtype)


@torch.library.custom_op("topolabel::selective_scan", mutates_args=(), device_types="cpu")
def scan_op(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    order: Tensor | None,
    use_softplus: bool,
) -> Tensor:
    """Scan channels-last operands, contiguous and of one dtype: u and delta (B, L, E), B and C (B, L, G, N).

    With an order, int32 (G, L), every group scans the tokens of u (B, L, E/G) in its own order, the results add up, and
    delta is (G, B, L, E/G).
    """
    y = torch.empty_like(u)
    columns = (A.t() * log2(e)).contiguous()
    problem = _problem(u, delta, columns, B, C, D, bias, y, order, use_softplus)
    _call("scan_forward", u.dtype, ctypes.byref(problem))
    return y


@torch.library.custom_op("topolabel::selective_scan_backward", mutates_args=(), device_types="cpu")
def scan_backward_op(
    dy: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    order: Tensor | None,
    use_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `scan_op` with respect to its seven tensors."""
    columns = (A.t() * log2(e)).contiguous()
    problem = _problem(u, delta, columns, B, C, D, bias, None, order, use_softplus)
    du, ddelta, dB, dC = (torch.empty_like(each) for each in (u, delta, B, C))
    # One row per image, so that no two threads add to the same number.
    dA = u.new_empty(len(u), *columns.shape)
    dD, dbias = u.new_empty(2, len(u), len(D)).unbind()
    gradients = _Gradients(*(each.data_ptr() for each in (dy, du, ddelta, dA, dB, dC, dD, dbias)))
    _call("scan_backward", u.dtype, ctypes.byref(problem), ctypes.byref(gradients))
    return du, ddelta, dA.sum(0).t().contiguous(), dB, dC, dD.sum(0), dbias.sum(0)


@scan_op.register_fake
def _(u: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(u)


@scan_backward_op.register_fake
def _(
    dy: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each) for each in (u, delta, A, B, C, D, bias))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.order, ctx.use_softplus = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    return (*scan_backward_op(dy.contiguous(), *ctx.saved_tensors, ctx.order, ctx.use_softplus), None, None)


scan_op.register_autograd(_backward, setup_context=_setup)


def _problem(u: Tensor, *rest: Any) -> _Problem:
    *tensors, y, order, use_softplus = rest
    batch, length, _ = u.shape
    channels, (groups, states) = tensors[1].shape[1], tensors[2].shape[2:]
    pointers = [None if each is None else each.data_ptr() for each in (u, *tensors, y, order)]
    sizes = (batch, length, channels, groups, states, int(use_softplus), torch.get_num_threads())
    return _Problem(*pointers, *sizes)


def _call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    suffix = {torch.float32: "f32", torch.float64: "f64"}[dtype]
    if getattr(open_library(machine_isa()), f"{name}_{suffix}")(*arguments):
        raise RuntimeError(f"the scan takes at most {MAX_STATES} states")
