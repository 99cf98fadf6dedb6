"""Selective scan by mamba-ssm (requirements-gpu.txt): an alternative to Triton on a GPU, if it is installed."""

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES = 256


def supports(u: Tensor, A: Tensor) -> bool:
    """Return whether mamba-ssm accepts the operands: on a GPU, not empty, at most float32 and `MAX_STATES` states."""
    fits = u.numel() > 0 and A.shape[-1] <= MAX_STATES and scan_dtype(u, u, A) == torch.float32
    return u.device.type == "cuda" and fits and find_spec("mamba_ssm") is not None


def selective_scan_mamba(
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

    mamba-ssm needs u, delta, B and C in one dtype with time innermost, and the other operands in float32.

    Raises:
        ValueError: If shapes disagree.
        ModuleNotFoundError: If mamba-ssm is not installed.
    """
    check_scan(u, delta, A, B, C)
    kernel = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    dtype = u.dtype
    u, delta, B, C = (operand.to(dtype).contiguous() for operand in (u, delta, B, C))
    D, bias = (None if operand is None else operand.float().contiguous() for operand in (D, delta_bias))
    return kernel(u, delta, A.float().contiguous(), B, C, D, delta_bias=bias, delta_softplus=delta_softplus)
