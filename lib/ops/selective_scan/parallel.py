"""Selective scan in PyTorch for any device: chunked, in place, with a backward pass that recomputes the states.

Tokens are the first axis, ``(L, B, G, N, E/G)``, so a step of the recurrence is one call on contiguous rows. States are
stored for one segment at a time (a run of tokens that fits into the cache). Between the forward and the backward pass
only the inputs and one state per segment are stored.
"""

from math import e, log2
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lib.ops.selective_scan.recurrence import ACCELERATOR_BUDGET, CPU_BUDGET, plan, scan_in_place
from lib.ops.selective_scan.reference import check_scan, scan_dtype
from lib.ops.selective_scan.softplus import softplus

_LOG2_E = log2(e)  # exp2 is four times as fast as exp on a CPU
_SMALL_PRODUCT = 400  # below this number of multiplications torch uses a slow loop instead of BLAS


def selective_scan_parallel(
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
    """Return the selective scan of `u`; arguments and result are those of `selective_scan_reference`.

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
        ``(B, E, L)``, dtype of ``u``, with E innermost in memory; computed in float32 at least.
    Raises:
        ValueError: If shapes disagree.
    Source:
        Gu & Dao 2023, arXiv:2312.00752, section 3.3 (recomputation); the chunks are those of a two-level prefix scan.
    """
    check_scan(u, delta, A, B, C)
    dtype, groups = scan_dtype(u, delta, A), B.shape[1]
    x, steps, B, C = (_tokens_first(operand.to(dtype)) for operand in (u, delta, B, C))
    x, steps = (operand.unflatten(-1, (groups, -1)) for operand in (x, steps))
    # In groups, with the channels innermost as in the states.
    A = A.to(dtype).unflatten(0, (groups, -1)).transpose(1, 2).contiguous()
    # Use zeros for an absent skip or bias: the cost is negligible compared with the states.
    D, bias = (
        x.new_zeros(x.shape[2:]) if operand is None else operand.to(dtype).unflatten(0, (groups, -1))
        for operand in (D, delta_bias)
    )
    y = _Scan.apply(x, steps, A, B, C, D, bias, delta_softplus)
    return y.flatten(-2).to(u.dtype).permute(1, 2, 0)


def _tokens_first(x: Tensor) -> Tensor:
    """Move the last axis of `x` to the front, contiguous; as a matrix transposition this is fast in torch."""
    if x.is_contiguous() and x.numel():
        return x.flatten(0, -2).t().contiguous().unflatten(1, x.shape[:-1])
    return x.movedim(-1, 0).contiguous()


def _step_sizes(delta: Tensor, bias: Tensor, use_softplus: bool) -> Tensor:
    """Return the step sizes that the recurrence uses."""
    return softplus(delta + bias) if use_softplus else delta + bias


def _decay(steps: Tensor, A2: Tensor) -> Tensor:
    """Return ``exp(delta A)``, ``(S, B, G, N, E)``; steps ``(S, B, G, E)``, ``A2 = A log2(e)`` of ``(G, N, E)``."""
    return (steps.unsqueeze(-2) * A2).exp2_()


def _chunk_decay(steps: Tensor, A2: Tensor, chunks: int) -> Tensor | None:
    """Return the decay over each chunk, which is the decay of its summed steps; None for a single chunk."""
    return None if chunks == 1 else _decay(steps.unflatten(0, (chunks, -1)).sum(1), A2)


def _states(decay: Tensor, inputs: Tensor, B: Tensor, first: Tensor, carry: Tensor | None) -> Tensor:
    """Return the state before a segment followed by the states of the segment, ``(S + 1, B, G, N, E)``."""
    states = torch.empty((len(inputs) + 1, *first.shape), dtype=first.dtype, device=first.device)
    states[0] = first
    torch.mul(inputs.unsqueeze(-2), B.unsqueeze(-1), out=states[1:])
    scan_in_place(decay, states[1:], first, carry)
    return states


def _sum_states(states: Tensor, weights: Tensor) -> Tensor:
    """Sum over N: states ``(S, B, G, N, E)`` weighted by ``(S, B, G, N)`` give ``(S, B, G, E)``."""
    if states.shape[-2] == 1:
        return states.squeeze(-2) * weights
    if states.shape[-2] * states.shape[-1] < _SMALL_PRODUCT:
        return (states * weights.unsqueeze(-1)).sum(-2)
    return torch.matmul(weights.unsqueeze(-2), states).squeeze(-2)


def _sum_channels(states: Tensor, weights: Tensor) -> Tensor:
    """Sum over E: states ``(S, B, G, N, E)`` weighted by ``(S, B, G, E)`` give ``(S, B, G, N)``."""
    if states.shape[-2] == 1 or states.shape[-2] * states.shape[-1] < _SMALL_PRODUCT:
        return torch.linalg.vecdot(states, weights.unsqueeze(-2))
    return torch.matmul(weights.unsqueeze(-2), states.transpose(-1, -2)).squeeze(-2)


class _Scan(torch.autograd.Function):
    """The scan of operands whose first axis is the tokens.

    Shapes: u and delta ``(L, B, G, E)``, A ``(G, N, E)``, B and C ``(L, B, G, N)``, D and bias ``(G, E)``, where E
    is the number of channels of one group.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor, use_softplus: bool
    ) -> Tensor:
        row = u.shape[1:3] + A.shape[1:]
        segments = plan(u.shape[0], row.numel(), CPU_BUDGET if u.device.type == "cpu" else ACCELERATOR_BUDGET)
        A2, y, state, starts = A * _LOG2_E, torch.empty_like(u), u.new_zeros(row), []
        # Autocast would compute the products in bfloat16, but the states need float32.
        with torch.autocast(u.device.type, enabled=False):
            for start, stop, chunks in segments:
                here = slice(start, stop)
                starts.append(state)
                steps = _step_sizes(delta[here], bias, use_softplus)
                carry = _chunk_decay(steps, A2, chunks)
                states = _states(_decay(steps, A2), steps * u[here], B[here], state, carry)
                state = states[-1].clone()
                torch.addcmul(_sum_states(states[1:], C[here]), u[here], D, out=y[here])
        ctx.save_for_backward(u, delta, A, B, C, D, bias, *starts)
        ctx.segments, ctx.use_softplus = segments, use_softplus
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Solve ``lam_l = C_l dy_l + a_{l+1} lam_{l+1}``, the recurrence with time reversed, segment by segment."""
        u, delta, A, B, C, D, bias, *starts = ctx.saved_tensors
        dy, A2 = _tokens_first(grads[0].movedim(0, -1)), A * _LOG2_E
        du, ddelta, dB, dC = (torch.empty_like(operand) for operand in (u, delta, B, C))
        dA, dD, dbias = (torch.zeros_like(operand) for operand in (A, D, bias))
        later, next_step = u.new_zeros(u.shape[1:3] + A.shape[1:]), torch.zeros_like(delta[:1])
        with torch.autocast(u.device.type, enabled=False):
            for (start, stop, chunks), state in zip(reversed(ctx.segments), reversed(starts), strict=True):
                here = slice(start, stop)
                x, dy_here = u[here], dy[here]
                # Append the step after the segment, because the adjoint decays by the step of the following token.
                following = torch.cat((_step_sizes(delta[here], bias, ctx.use_softplus), next_step))
                steps, next_step = following[:-1], following[:1]
                decay, inputs = _decay(following, A2), steps * x
                states = _states(decay[:-1], inputs, B[here], state, _chunk_decay(steps, A2, chunks))
                dC[here] = _sum_channels(states[1:], dy_here)
                adjoint = dy_here.unsqueeze(-2) * C[here].unsqueeze(-1)
                carry = _chunk_decay(following[1:], A2, chunks)
                later = scan_in_place(decay[1:], adjoint, later, carry, reverse=True)
                dB[here] = _sum_channels(adjoint, inputs)
                dinputs = _sum_states(adjoint, B[here])
                torch.addcmul(dy_here * D, dinputs, steps, out=du[here])
                dD += (dy_here * x).sum((0, 1))
                slope = decay[:-1].mul_(adjoint).mul_(states[:-1])  # the gradient with respect to delta A
                dA += (slope * steps.unsqueeze(-2)).sum((0, 1))
                dsteps = torch.addcmul(slope.mul_(A).sum(-2), dinputs, x)
                if ctx.use_softplus:
                    dsteps *= torch.sigmoid(delta[here] + bias)
                dbias += dsteps.sum((0, 1))
                ddelta[here] = dsteps
        return du, ddelta, dA, dB, dC, dD, dbias, None
