"""Selective scan of a sequence and of an image; this module chooses the implementation."""

from torch import Tensor

from lib.ops.selective_scan import gpu, mamba, native
from lib.ops.selective_scan.image import image_scan_reference, scan_orders
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.reference import selective_scan_reference

__all__ = ["image_scan", "scan_orders", "selective_scan", "selective_scan_reference"]


def selective_scan(
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
    """Return the selective scan of `u` by the fastest implementation for its device.

    The implementation is C++ on a CPU with a compiler, Triton on a GPU, mamba-ssm on a GPU without Triton, and PyTorch
    elsewhere. Arguments, result and errors are those of `selective_scan_reference`.
    """
    scan = selective_scan_parallel
    if native.supports(u, A):
        scan = native.selective_scan_native
    elif gpu.supports(u, A):
        scan = gpu.selective_scan_gpu
    elif mamba.supports(u, A):
        scan = mamba.selective_scan_mamba
    return scan(u, delta, A, B, C, D, delta_bias=delta_bias, delta_softplus=delta_softplus)


def image_scan(
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
    """Return the sum of the selective scans of an image by the fastest implementation for its device.

    The C++ and the Triton implementations read the image in place, without copies into sequences. Arguments and result
    are those of `image_scan_reference`.
    """
    scan, ranks = image_scan_reference, dt.shape[-1]
    if native.supports(u, A, ranks):
        scan = native.image_scan_native
    elif gpu.supports(u, A, ranks):
        scan = gpu.image_scan_gpu
    return scan(u, dt, dt_weight, A, B, C, D, delta_bias, order)
