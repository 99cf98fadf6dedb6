"""The scan of mamba-ssm (requirements-gpu.txt), where it is installed: a second opinion on a GPU."""

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from lib.ops.selective_scan.reference import check_scan, scan_dtype

MAX_STATES = 256


def serves(u: Tensor, A: Tensor) -> bool:
    """Say whether mamba-ssm takes these operands: on a GPU, not empty, at most float32, few enough states."""
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

    It wants u, delta, B and C in one dtype, time innermost, and the rest in float32.

    Raises:
        ValueError: If shapes disagree.
        ModuleNotFoundError: If mamba-ssm is not installed.
    """
    check_scan(u, delta, A, B, C)
    kernel = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    dtype = u.dtype
    u, delta, B, C = (each.to(dtype).contiguous() for each in (u, delta, B, C))
    D, bias = (None if each is None else each.float().contiguous() for each in (D, delta_bias))
    return kernel(u, delta, A.float().contiguous(), B, C, D, delta_bias=bias, delta_softplus=delta_softplus)
