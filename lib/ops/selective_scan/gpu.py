"""Selective scan in Triton as a torch operator, with fake shapes for tracing and with its gradient.

A scan takes three launches. The first computes the final state of every chunk from an initial state of zero, the second
passes the states from chunk to chunk (the carries), and the third scans every chunk from its carry. Between the forward
and the backward pass only the carries are stored. Triton is imported by the first scan, not by this module.
"""

from importlib.util import find_spec
from math import e, log2
from typing import Any

import torch
from torch import Tensor

from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES, MAX_NUMBERS = 256, 2**31 - 1  # offsets within one image are 32-bit integers
# Tokens of a chunk. Longer chunks need fewer carries. But the backward pass stores three times as many values per
# token, and 32 tokens would not fit into the registers of a lane. So a scan with a gradient uses the shorter chunks
# from the forward pass on.
CHUNK, CHUNK_WITH_GRADIENT = 32, 16
CHANNELS = 32  # channels of a tile: one warp, one channel per lane
CARRIES, STATES, CARRY_WARPS = 128, 32, 4  # chunks, states and warps of a tile of `carry_over`
_SERIES_TERMS = {torch.float32: 8, torch.float64: 18}  # terms of artanh that reach the precision of the dtype


def supports(u: Tensor, A: Tensor, ranks: int = 0) -> bool:
    """Return whether Triton is installed and the Triton scan accepts the operands.

    Args:
        u: Input sequence; it must be on a GPU, not empty, and have at most `MAX_NUMBERS` elements per image.
        A: State matrix, ``(E, N)`` with N at most `MAX_STATES`.
        ranks: Rank of low-rank step sizes; every rank is supported, because a matrix product projects the steps.
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
        delta: Step sizes before bias and softplus, ``(B, E, L)``. With one group, memory with E innermost is read
            without a copy.
        A: State matrix, ``(E, N)``.
        B: Input matrix, ``(B, G, N, L)``.
        C: Output matrix, ``(B, G, N, L)``.
        D: Skip connection, ``(E,)``.
        delta_bias: Added to `delta`, ``(E,)``.
        delta_softplus: Whether to pass the biased `delta` through softplus.
    Returns:
        ``(B, E, L)``, dtype of ``u``, with E innermost in memory; computed in float32, or in float64 if an operand has
        it.
    Raises:
        ValueError: If shapes disagree.
    Source:
        Gu & Dao 2023, arXiv:2312.00752, section 3.3; chunks as in Martin & Cundy 2018, arXiv:1709.04057.
    """
    check_scan(u, delta, A, B, C)
    dtype = scan_dtype(u, delta, A)
    D, bias = (A.new_zeros(len(A)) if operand is None else operand for operand in (D, delta_bias))
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

    The steps are projected in the dtype of `dt`, as in a linear layer.
    """
    dtype = scan_dtype(u, dt, A)
    # One product per scan, accumulated in float32 by the tensor cores; tokens stay in the order of the image.
    steps = torch.bmm(dt.permute(2, 0, 1, 3).flatten(1, 2), dt_weight.to(dt.dtype).transpose(1, 2))
    steps = steps.unflatten(1, dt.shape[:2])
    tensors = (u, steps, A.to(dtype), B, C, D.to(dtype), delta_bias.to(dtype))
    return _scan(tensors, order.int().contiguous(), True)


def _scan(tensors: tuple[Tensor, ...], order: Tensor | None, use_softplus: bool) -> Tensor:
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    chunk = CHUNK_WITH_GRADIENT if needs_gradient else CHUNK
    return scan_gpu_op(*(tensor.contiguous() for tensor in tensors), order, use_softplus, chunk)[0]


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

    With an order, int32 (G, L), every group scans the tokens of u (B, L, E/G) in its own order and the results are
    added. Returns the scan and its carries. On a CPU the operator runs under the interpreter of Triton only.
    """
    problem = _Problem(u, delta, A, B, bias, order, use_softplus, chunk)
    carries = problem.compute_carries(u, B, adjoint=False)
    y = problem.empty_per_scan()
    operands = (u, delta, problem.columns, B, C, D, bias, order, carries, y)
    problem.launch("scan_chunks", operands, writes_per_scan=True)
    return problem.sum_scans(y), carries


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
    adjoints = problem.compute_carries(dy, C, adjoint=True)
    du, ddelta, dA = problem.empty_per_scan(), torch.empty_like(delta), torch.empty_like(carries)
    dD, dbias = A.new_empty(2, *carries.shape[:3], carries.shape[4]).unbind()
    dB, dC = A.new_empty(2, problem.grid[1], *B.shape).unbind()
    operands = (dy, u, delta, problem.columns, B, C, D, bias, order, carries, adjoints)
    problem.launch("differentiate_chunks", (*operands, du, ddelta, dA, dB, dC, dD, dbias), writes_per_scan=True)
    dA = dA.sum((0, 2)).transpose(1, 2).reshape(A.shape)
    dB, dC = dB.sum(0).to(B.dtype), dC.sum(0).to(C.dtype)
    dD, dbias = (partial.sum((0, 2)).flatten() for partial in (dD, dbias))
    return problem.sum_scans(du), ddelta, dA, dB, dC, dD, dbias


@scan_gpu_op.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    groups, batch, length, channels = delta.shape
    return torch.empty_like(u), A.new_empty(batch, groups, -(-length // rest[-1]), A.shape[1], channels)


@scan_gpu_backward_op.register_fake
def _(dy: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor) for tensor in tensors[:7])


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

    def empty_per_scan(self) -> Tensor:
        """Return an uninitialised buffer for values that are summed over the scans of an image, with a slice per scan.

        Scans that run at the same time could add to one image only with atomics, and the result would differ from run
        to run. Scans that run one after another would leave most of the GPU idle at a batch size of one. A slice per
        scan costs one more write and read, and the sum has a fixed order.
        """
        if self.order is None or self.groups == 1:
            return torch.empty_like(self.u)
        return self.columns.new_empty(self.batch, self.groups, self.length, self.channels)

    def sum_scans(self, x: Tensor) -> Tensor:
        """Return the sum over the scans of a buffer from `empty_per_scan`."""
        return x if x.ndim == 3 else x.sum(1).to(self.u.dtype)

    def compute_carries(self, value: Tensor, weights: Tensor, *, adjoint: bool) -> Tensor:
        """Return the carry of every chunk, ``(B, G, chunks, N, E)``.

        In the forward pass the carry is the last state of the chunk; for the adjoint it is the value that the chunk
        passes to the token before it.

        Args:
            value: u in the forward pass, dy for the adjoint, ``(B, L, row)``.
            weights: B in the forward pass, C for the adjoint, ``(B, L, G, N)``.
            adjoint: Whether to compute the carries of the adjoint.
        """
        from lib.ops.selective_scan.gpu_kernels import carry_over

        ends, totals = self.columns.new_empty(self.shape), self.columns.new_empty(*self.shape[:3], self.channels)
        operands = (value, self.delta, self.columns, weights, self.bias, self.order, ends, totals)
        self.launch("chunk_ends", operands, ADJOINT=adjoint)
        chunks, width = self.shape[2], self.shape[3] * self.channels
        # Choose the smallest tile that is sufficient, because padding costs as much as data.
        longest, widest = (1 << (size - 1).bit_length() for size in (chunks, width))
        options: dict[str, Any] = {"T": min(CARRIES, longest), "W": min(STATES, widest), "num_warps": CARRY_WARPS}
        options["ADJOINT"], grid = adjoint, (-(-width // options["W"]), self.grid[2])
        with torch.cuda.device_of(ends):
            carry_over[grid](
                ends, totals, self.columns, chunks, self.channels, self.groups, width, DTYPE=self._dtype(), **options,
            )  # fmt: skip
        return ends

    def launch(
        self, name: str, operands: tuple[Tensor | None, ...], *, writes_per_scan: bool = False, **options: bool
    ) -> None:
        """Run a kernel with one program per tile.

        Args:
            name: Name of the kernel in `gpu_kernels`.
            operands: Tensors in the order of the kernel.
            writes_per_scan: Whether the kernel writes a buffer from `empty_per_scan` and needs its strides.
            options: Compile-time options of the kernel.
        """
        from lib.ops.selective_scan import gpu_kernels

        interleaved = self.order is None  # the channels of all groups lie side by side
        row, group = (self.groups * self.channels, self.channels) if interleaved else (self.channels, 0)
        strides = [row, group]
        if writes_per_scan:
            strides += [row, group] if interleaved else [self.channels, self.length * self.channels]
        sizes = (self.batch, self.length, self.channels, self.groups, self.shape[2], *strides, 1)
        with torch.cuda.device_of(self.u):
            getattr(gpu_kernels, name)[self.grid](
                *operands, *sizes, N=self.shape[3], SOFTPLUS=self.use_softplus, TERMS=_SERIES_TERMS[self.columns.dtype],
                DTYPE=self._dtype(), T=self.chunk, W=CHANNELS, num_warps=1, **options,
            )  # fmt: skip

    def _dtype(self) -> Any:
        import triton.language as tl

        return {torch.float32: tl.float32, torch.float64: tl.float64}[self.columns.dtype]
