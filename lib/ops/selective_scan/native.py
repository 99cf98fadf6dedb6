"""Selective scan in C++ as a torch operator, with fake shapes for tracing and with its gradient."""

import ctypes
from math import e, log2
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.native.build import call, library
from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES, MAX_RANKS = 64, 256
_LANES, _TILE = 16, 32
_OPERANDS = ("u", "delta", "weight", "weight_rows", "A", "B", "C", "D", "bias", "y", "starts", "order")
_SIZES = ("batch", "L", "E", "G", "N", "ranks", "padded", "use_softplus", "threads")


class _Problem(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _OPERANDS] + [(name, ctypes.c_int64) for name in _SIZES]


class _Gradients(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("dy", "du", "ddelta", "dweight", "dA", "dB", "dC", "dD", "dbias")]


def supports(u: Tensor, A: Tensor, ranks: int = 0) -> bool:
    """Return whether the C++ scan accepts the operands and is built.

    Args:
        u: Input sequence; it must be on the CPU and not empty.
        A: State matrix, ``(E, N)`` with N at most `MAX_STATES`.
        ranks: Rank of low-rank step sizes, at most `MAX_RANKS`; 0 for full step sizes.
    """
    small = A.shape[-1] <= MAX_STATES and ranks <= MAX_RANKS
    return u.device.type == "cpu" and u.numel() > 0 and small and library() is not None


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

    Letters of shapes: B batch, E channels, L tokens, N states, G groups of channels that share `B` and `C`.

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
        ``(B, E, L)``, dtype of ``u``, with E innermost in memory; computed in float32, or in float64 if `u`, `delta`
        or `A` is float64.
    Raises:
        ValueError: If shapes disagree.
    Source:
        Gu & Dao 2023, arXiv:2312.00752, section 3.3 (states in fast memory, recomputed in the backward pass). Here the
        backward pass recomputes them from the states that the forward pass stores at every 32nd token.
    """
    check_scan(u, delta, A, B, C)
    dtype = scan_dtype(u, delta, A)
    D, bias = (A.new_zeros(len(A)) if operand is None else operand for operand in (D, delta_bias))
    operands = [u.transpose(1, 2), delta.transpose(1, 2), A, B.permute(0, 3, 1, 2), C.permute(0, 3, 1, 2), D, bias]
    u_, delta_, *rest = (operand.to(dtype).contiguous() for operand in operands)
    weight, order = None, None  # `delta` is not a low-rank projection, and tokens are read in their order
    y, _ = scan_op(u_, delta_, weight, *rest, order, delta_softplus, _needs_gradient(u_, delta_, *rest))
    return y.to(u.dtype).transpose(1, 2)


def image_scan_native(
    u: Tensor,
    dt: Tensor,
    dt_weight: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    order: Tensor,
) -> Tensor:
    """Return the sum of the scans of one image on a CPU; arguments and result are those of `image_scan_reference`."""
    dtype = scan_dtype(u, dt, A)
    operands = [operand.to(dtype).contiguous() for operand in (u, dt, dt_weight, A, B, C, D, delta_bias)]
    y, _ = scan_op(*operands, order.int().contiguous(), True, _needs_gradient(*operands))
    return y.to(u.dtype)


@torch.library.custom_op("topolabel::selective_scan", mutates_args=(), device_types="cpu")
def scan_op(
    u: Tensor,
    delta: Tensor,
    weight: Tensor | None,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    order: Tensor | None,
    use_softplus: bool,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """Scan channels-last operands, contiguous and of one dtype: u and delta (B, L, E), B and C (B, L, G, N).

    With an order, int32 (G, L), every group scans the tokens of u (B, L, E/G) in its own order and the results are
    added. With a weight (G, E/G, R), delta has low rank, (B, L, G, R), and the steps are its products with the weight.

    Returns:
        The scan, and the states before every tile of tokens, (B, tiles, N, E), which the gradient needs; an empty
        tensor in place of the states unless `keep`.
    """
    y, starts = torch.empty_like(u), _starts(u, A, keep)
    problem, _alive = _problem(u, delta, weight, A, B, C, D, bias, y, starts if keep else None, order, use_softplus)
    call("scan_forward", u.dtype, ctypes.byref(problem))
    return y, starts


@torch.library.custom_op("topolabel::selective_scan_backward", mutates_args=(), device_types="cpu")
def scan_backward_op(
    dy: Tensor,
    u: Tensor,
    delta: Tensor,
    weight: Tensor | None,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    starts: Tensor,
    order: Tensor | None,
    use_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `scan_op` with respect to its eight tensors; an empty tensor for an absent weight."""
    problem, _alive = _problem(u, delta, weight, A, B, C, D, bias, None, starts, order, use_softplus)
    du, ddelta, dB, dC = (torch.empty_like(operand) for operand in (u, delta, B, C))
    # One row per image, so that no two threads add to the same element.
    dA = u.new_empty(len(u), *A.t().shape)
    dD, dbias = u.new_empty(2, len(u), len(D)).unbind()
    dweight = u.new_empty(0) if weight is None else u.new_empty(len(u), *weight.transpose(1, 2).shape)
    buffers = (dy, du, ddelta, dweight, dA, dB, dC, dD, dbias)
    gradients = _Gradients(*(buffer.data_ptr() for buffer in buffers))
    call("scan_backward", u.dtype, ctypes.byref(problem), ctypes.byref(gradients))
    if weight is not None:
        dweight = dweight.sum(0).transpose(1, 2).contiguous()
    return du, ddelta, dweight, dA.sum(0).t().contiguous(), dB, dC, dD.sum(0), dbias.sum(0)


@scan_op.register_fake
def _(u: Tensor, delta: Tensor, weight: Tensor | None, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(u), _starts(u, A, rest[-1])


@scan_backward_op.register_fake
def _(
    dy: Tensor,
    u: Tensor,
    delta: Tensor,
    weight: Tensor | None,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    *_: Any,
) -> tuple[Tensor, ...]:
    tensors = (u, delta, u.new_empty(0) if weight is None else weight, A, B, C, D, bias)
    return tuple(torch.empty_like(tensor) for tensor in tensors)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.order, ctx.use_softplus, _ = inputs
    starts = output[1]
    ctx.save_for_backward(*tensors, starts)
    ctx.mark_non_differentiable(starts)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 11
    tensors = ctx.saved_tensors
    du, ddelta, dweight, *rest = scan_backward_op(dy.contiguous(), *tensors, ctx.order, ctx.use_softplus)
    return du, ddelta, None if tensors[2] is None else dweight, *rest, None, None, None


scan_op.register_autograd(_backward, setup_context=_setup)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _starts(u: Tensor, A: Tensor, keep: bool) -> Tensor:
    """Return an uninitialised buffer for the states before every tile, (B, tiles, N, E); empty unless `keep`."""
    shape = (len(u), -(-u.shape[1] // _TILE), *A.t().shape) if keep else (0,)
    return u.new_empty(*shape)


def _problem(
    u: Tensor,
    delta: Tensor,
    weight: Tensor | None,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    *rest: Any,
) -> tuple[_Problem, list[Tensor | None]]:
    """Return the operands as the kernels expect them, and the tensors whose memory the returned pointers use."""
    y, starts, order, use_softplus = rest
    columns, ranks, padded, flat, rows = (A.t() * log2(e)).contiguous(), 0, 0, None, None
    if weight is not None:
        ranks, flat = weight.shape[2], weight.transpose(1, 2).contiguous()
        padded = -(-ranks // _LANES) * _LANES
        rows = F.pad(weight, (0, padded - ranks))
    operands = [u, delta, flat, rows, columns, B, C, D, bias, y, starts, order]
    pointers = [None if operand is None else operand.data_ptr() for operand in operands]
    groups, states = B.shape[2:]
    sizes = (*u.shape[:2], len(A), groups, states, ranks, padded, int(use_softplus), torch.get_num_threads())
    return _Problem(*pointers, *sizes), operands
