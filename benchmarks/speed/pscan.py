"""Selective scan of logarithmic depth in plain PyTorch, as in public code; the unfused reference of the kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pscan(decay: Tensor, drive: Tensor) -> Tensor:
    """Return the states ``h_t = decay_t h_(t-1) + drive_t`` of ``(..., L)`` by odd-even reduction.

    Source:
        Blelloch 1990, Prefix sums and their applications.
    """
    length = decay.shape[-1]
    if length == 1:
        return drive
    if length % 2:
        last = pscan(decay[..., :-1], drive[..., :-1])
        return torch.cat((last, decay[..., -1:] * last[..., -1:] + drive[..., -1:]), -1)
    even_a, odd_a = decay.unflatten(-1, (-1, 2)).unbind(-1)
    even_b, odd_b = drive.unflatten(-1, (-1, 2)).unbind(-1)
    odd = pscan(even_a * odd_a, odd_a * even_b + odd_b)
    before = F.pad(odd[..., :-1], (1, 0))
    return torch.stack((even_a * before + even_b, odd), -1).flatten(-2)


def selective_scan_pscan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None) -> Tensor:
    """Return the scan of ``u (B, E, L)`` with the states ``(B, E, N, L)`` in memory; see `selective_scan_reference`."""
    groups = B.shape[1]
    b, c = (matrix.repeat_interleave(u.shape[1] // groups, 1) for matrix in (B, C))
    states = pscan(torch.exp(delta.unsqueeze(2) * A.unsqueeze(-1)), (delta * u).unsqueeze(2) * b)
    y = (states * c).sum(2)
    return y if D is None else y + D.unsqueeze(-1) * u


def image_scan_pscan(
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
    """Return the core of SS2D as published code computes it: sequences cut out, scanned, merged."""
    order, scans = order.long(), torch.arange(len(order))[:, None]
    sequences = u[:, order].permute(0, 1, 3, 2).flatten(1, 2)
    steps = torch.einsum("blkr,ker->kble", dt, dt_weight)[scans, :, order].permute(2, 0, 3, 1).flatten(1, 2)
    b, c = (matrix[:, order, scans].transpose(2, 3) for matrix in (B, C))
    y = selective_scan_pscan(sequences, F.softplus(steps + delta_bias[:, None]), A, b, c, D)
    back = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
    return y.unflatten(1, (len(order), -1)).transpose(2, 3)[:, scans, back].sum(1)
