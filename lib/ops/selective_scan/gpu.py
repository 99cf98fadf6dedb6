"""The scan in Triton as an operator of torch, with shapes for tracing and its gradient.

Three launches scan: what every chunk hands on from rest, what they hand on one to the next, and every chunk again from
what it is handed. Between forward and backward only these carries are kept. Triton is imported by the first scan, never
by this module.
"""

from importlib.util import find_spec
from math import e, log2
from typing import Any

import torch
from torch import Tensor

from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES, MAX_NUMBERS = 256, 2**31 - 1  # the places within one image are 32-bit integers
# Tokens of a chunk. Longer chunks pass less on, but the backward pass holds three times as many numbers to a token, and
# with 32 tokens they no longer fit a lane's registers. So a scan that will be differentiated starts with its chunks.
CHUNK, CHUNK_WITH_GRADIENT = 32, 16
CHANNELS = 32  # of a tile: one warp, a lane a channel
CARRIES, STATES, CARRY_WARPS = 128, 32, 4  # chunks and states of a tile of `carry_over`, its chunks shared among warps
_SERIES = {torch.float32: 8, torch.float64: 18}  # terms of artanh that reach the dtype's precision


def serves(u: Tensor, A: Tensor, ranks: int = 0) -> bool:
    """Say whether the Triton scan takes these operands: on a GPU, not empty, few enough states, Triton installed.

    Any number of `ranks` goes, because a matrix product projects the steps.
    """
    fits = u.numel() > 0 and u[0].numel() <= MAX_NUMBERS and A.shape[-1] <= MAX_STATES and ranks >= 0
    return u.device.type == "cuda" and fits and find_spec("triton") is not None


def selective_scan_gpu(
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
    """Return the selective scan of `u` on a GPU; arguments and result are those of `selective_scan_reference`.

    Args:
        u: Input sequence, ``(B, E, L)``. Memory with E innermost is read without a copy.
        delta: Step sizes before bias and softplus, ``(B, E, L)``; with one group, read likewise.
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
        Gu & Dao 2023, arXiv:2312.00752, section 3.3; chunks as in Martin & Cundy 2018, arXiv:1709.04057.
    """
    check_scan(u, delta, A, B, C)
    dtype = scan_dtype(u, delta, A)
    D, bias = (A.new_zeros(len(A)) if each is None else each for each in (D, delta_bias))
    steps = delta.unflatten(1, (B.shape[1], -1)).permute(1, 0, 3, 2)
    tensors = (u.transpose(1, 2), steps, A.to(dtype), B.permute(0, 3, 1, 2), C.permute(0, 3, 1, 2))
    skip = (D.to(dtype), bias.to(dtype))
    return _scan((*tensors, *skip), None, delta_softplus).transpose(1, 2)


def image_scan_gpu(
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
    """Return the sum of the scans of one image on a GPU; arguments and result are those of `image_scan_reference`.

    The steps are projected in the dtype of `dt`, as a linear layer would.
    """
    dtype = scan_dtype(u, dt, A)
    # A product for every scan, accumulated in float32 by the tensor cores; the order of the image is kept.
    steps = torch.bmm(dt.permute(2, 0, 1, 3).flatten(1, 2), dt_weight.to(dt.dtype).transpose(1, 2))
    steps = steps.unflatten(1, dt.shape[:2])
    tensors = (u, steps, A.to(dtype), B, C, D.to(dtype), delta_bias.to(dtype))
    return _scan(tensors, order.int().contiguous(), True)


def _scan(tensors: tuple[Tensor, ...], order: Tensor | None, use_softplus: bool) -> Tensor:
    differentiated = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    chunk = CHUNK_WITH_GRADIENT if differentiated else CHUNK
    return scan_gpu_op(*(each.contiguous() for each in tensors), order, use_softplus, chunk)[0]


@torch.library.custom_op("topolabel::selective_scan_gpu", mutates_args=(), device_types=("cuda", "cpu"))
def scan_gpu_op(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    order: Tensor | None,
    use_softplus: bool,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Scan contiguous operands, u (B, L, E), delta (G, B, L, E/G), B and C (B, L, G, N); A, D and bias of one dtype.

    With an order, int32 (G, L), every group scans the tokens of u (B, L, E/G) in its own order and the results add up.
    Returns the scan and what its chunks hand on. On a CPU it runs under Triton's interpreter only.
    """
    problem = _Problem(u, delta, A, B, bias, order, use_softplus, chunk)
    carries = problem.carries(u, B, adjoint=False)
    y = problem.per_scan()
    problem.launch("scan_chunks", (u, delta, problem.columns, B, C, D, bias, order, carries, y), written=True)
    return problem.add_up(y), carries


@torch.library.custom_op("topolabel::selective_scan_gpu_backward", mutates_args=(), device_types=("cuda", "cpu"))
def scan_gpu_backward_op(
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
    chunk: int,
    carries: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of `scan_gpu_op` with respect to its seven tensors."""
    problem = _Problem(u, delta, A, B, bias, order, use_softplus, chunk)
    adjoints = problem.carries(dy, C, adjoint=True)
    du, ddelta, dA = problem.per_scan(), torch.empty_like(delta), torch.empty_like(carries)
    dD, dbias = A.new_empty(2, *carries.shape[:3], carries.shape[4]).unbind()
    dB, dC = A.new_empty(2, problem.grid[1], *B.shape).unbind()
    operands = (dy, u, delta, problem.columns, B, C, D, bias, order, carries, adjoints)
    problem.launch("differentiate_chunks", (*operands, du, ddelta, dA, dB, dC, dD, dbias), written=True)
    dA = dA.sum((0, 2)).transpose(1, 2).reshape(A.shape)
    dB, dC = dB.sum(0).to(B.dtype), dC.sum(0).to(C.dtype)
    dD, dbias = (each.sum((0, 2)).flatten() for each in (dD, dbias))
    return problem.add_up(du), ddelta, dA, dB, dC, dD, dbias


@scan_gpu_op.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    groups, batch, length, channels = delta.shape
    return torch.empty_like(u), A.new_empty(batch, groups, -(-length // rest[-1]), A.shape[1], channels)


@scan_gpu_backward_op.register_fake
def _(dy: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each) for each in tensors[:7])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.order, ctx.use_softplus, ctx.chunk = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, output[1])


def _backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, carries = ctx.saved_tensors
    options = (ctx.order, ctx.use_softplus, ctx.chunk)
    gradients = scan_gpu_backward_op(dy.contiguous(), *tensors, *options, carries)
    return *gradients, None, None, None


scan_gpu_op.register_autograd(_backward, setup_context=_setup)


class _Problem:
    """The sizes of one scan, and the launches that forward and backward share."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        bias: Tensor,
        order: Tensor | None,
        use_softplus: bool,
        chunk: int,
    ) -> None:
        self.u, self.delta, self.bias, self.order = u, delta, bias, order
        self.groups, self.batch, self.length, self.channels = delta.shape
        self.columns = (A.unflatten(0, (self.groups, -1)).transpose(1, 2) * log2(e)).contiguous()
        self.shape = (self.batch, self.groups, -(-self.length // chunk), B.shape[3], self.channels)
        self.grid = (self.shape[2], -(-self.channels // CHANNELS), self.batch * self.groups)
        self.use_softplus, self.chunk = use_softplus, chunk

    def per_scan(self) -> Tensor:
        """Return room for numbers that the scans add up to one image, a slice of its own for every scan.

        Scans of an image meet at every place in an order that only time decides, so they cannot add up in place
        without atomics, and then not to the same bits twice. One after another they would leave most of the GPU idle
        at a batch of one. A slice each costs one more write and read; the sum runs in a fixed order.
        """
        if self.order is None or self.groups == 1:
            return torch.empty_like(self.u)
        return self.columns.new_empty(self.batch, self.groups, self.length, self.channels)

    def add_up(self, x: Tensor) -> Tensor:
        """Return the image that `per_scan` made room for."""
        return x if x.ndim == 3 else x.sum(1).to(self.u.dtype)

    def carries(self, value: Tensor, weights: Tensor, *, adjoint: bool) -> Tensor:
        """Return what every chunk hands on: forward its last state, of the adjoint what reaches the token before."""
        from lib.ops.selective_scan.gpu_kernels import carry_over

        ends, totals = self.columns.new_empty(self.shape), self.columns.new_empty(*self.shape[:3], self.channels)
        operands = (value, self.delta, self.columns, weights, self.bias, self.order, ends, totals)
        self.launch("chunk_ends", operands, ADJOINT=adjoint)
        chunks, width = self.shape[2], self.shape[3] * self.channels
        # A tile no longer than needed: what is padded costs as much as what is not.
        longest, widest = (1 << (each - 1).bit_length() for each in (chunks, width))
        options: dict[str, Any] = {"T": min(CARRIES, longest), "W": min(STATES, widest), "num_warps": CARRY_WARPS}
        options["ADJOINT"], grid = adjoint, (-(-width // options["W"]), self.grid[2])
        with torch.cuda.device_of(ends):
            carry_over[grid](
                ends, totals, self.columns, chunks, self.channels, self.groups, width, DTYPE=self._dtype(), **options,
            )  # fmt: skip
        return ends

    def launch(self, name: str, operands: tuple[Tensor | None, ...], *, written: bool = False, **options: bool) -> None:
        """Run a kernel with a program for every tile."""
        from lib.ops.selective_scan import gpu_kernels

        together = self.order is None  # the channels of all groups side by side
        row, group = (self.groups * self.channels, self.channels) if together else (self.channels, 0)
        strides = [row, group]
        if written:
            strides += [row, group] if together else [self.channels, self.length * self.channels]
        sizes = (self.batch, self.length, self.channels, self.groups, self.shape[2], *strides, 1)
        with torch.cuda.device_of(self.u):
            getattr(gpu_kernels, name)[self.grid](
                *operands, *sizes, N=self.shape[3], SOFTPLUS=self.use_softplus, TERMS=_SERIES[self.columns.dtype],
                DTYPE=self._dtype(), T=self.chunk, W=CHANNELS, num_warps=1, **options,
            )  # fmt: skip

    def _dtype(self) -> Any:
        import triton.language as tl

        return {torch.float32: tl.float32, torch.float64: tl.float64}[self.columns.dtype]
