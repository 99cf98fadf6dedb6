"""Selective scan as a plain recurrence: slow, differentiated by autograd, the reference for the faster versions."""

import torch
from torch import Tensor
from torch.nn import functional as F


def check_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    """Check that the shapes of the operands of a scan agree.

    Args:
        u: Input sequence, ``(B, E, L)``.
        delta: Step sizes, ``(B, E, L)``.
        A: State matrix, ``(E, N)``.
        B: Input matrix, ``(B, G, N, L)``.
        C: Output matrix, ``(B, G, N, L)``.
    Raises:
        ValueError: If a shape disagrees with ``u``, or G does not divide E.
    """
    if u.ndim != 3 or delta.shape != u.shape:
        raise ValueError(f"u and delta must both be (B, E, L), got {tuple(u.shape)} and {tuple(delta.shape)}")
    batch, channels, length = u.shape
    if A.ndim != 2 or A.shape[0] != channels:
        raise ValueError(f"A must be ({channels}, N), got {tuple(A.shape)}")
    if B.ndim != 4 or B.shape != C.shape or B.shape[0] != batch or B.shape[2:] != (A.shape[1], length):
        raise ValueError(
            f"B and C must both be ({batch}, G, {A.shape[1]}, {length}), got {tuple(B.shape)} and {tuple(C.shape)}"
        )
    if channels % B.shape[1]:
        raise ValueError(f"{B.shape[1]} groups do not divide {channels} channels")


def scan_dtype(u: Tensor, delta: Tensor, A: Tensor) -> torch.dtype:
    """Return the dtype in which a scan computes: float64 if an operand has it, otherwise float32."""
    widest = torch.promote_types(torch.promote_types(u.dtype, delta.dtype), A.dtype)
    return torch.promote_types(widest, torch.float32)


def selective_scan_reference(
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
    """Return the selective scan of `u`, one token after another.

    ``h_l = exp(delta_l A) h_{l-1} + delta_l B_l u_l`` and ``y_l = C_l h_l + D u_l``, from ``h_0 = 0``.

    Args:
        u: Input sequence, ``(B, E, L)``.
        delta: Step sizes before bias and softplus, ``(B, E, L)``.
        A: State matrix (negative in a stable model), ``(E, N)``.
        B: Input matrix, ``(B, G, N, L)``; channel e reads group ``e // (E / G)``.
        C: Output matrix, ``(B, G, N, L)``.
        D: Skip connection, ``(E,)``; None for no skip connection.
        delta_bias: Bias of `delta`, ``(E,)``; None for no bias.
        delta_softplus: Whether to pass the biased `delta` through softplus.
    Returns:
        ``(B, E, L)``, dtype of ``u``; computed in float32 at least.
    Raises:
        ValueError: If shapes disagree.
    Source:
        Gu & Dao 2023, arXiv:2312.00752, algorithm 2.
    """
    check_scan(u, delta, A, B, C)
    dtype = scan_dtype(u, delta, A)
    x, steps, A, B, C = (operand.to(dtype) for operand in (u, delta, A, B, C))
    if delta_bias is not None:
        steps = steps + delta_bias.to(dtype)[:, None]
    if delta_softplus:
        steps = F.softplus(steps)
    per_group = u.shape[1] // B.shape[1]
    B, C = (matrix.repeat_interleave(per_group, dim=1) for matrix in (B, C))
    state = x.new_zeros(*u.shape[:2], A.shape[1])
    outputs = []
    # Use unbind, because the gradient of an index covers the whole sequence at every token.
    for step, value, b, c in zip(*(operand.unbind(-1) for operand in (steps, x, B, C)), strict=True):
        state = torch.exp(step[..., None] * A) * state + (step * value)[..., None] * b
        outputs.append((state * c).sum(-1))
    y = torch.stack(outputs, dim=-1) if outputs else torch.zeros_like(x)
    if D is not None:
        y = y + D.to(dtype)[:, None] * x
    return y.to(u.dtype)
