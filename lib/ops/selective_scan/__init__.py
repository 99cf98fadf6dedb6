"""Export the selective scan, of a sequence and of an image; only here is an implementation chosen."""

from torch import Tensor

from lib.ops.selective_scan.image import image_scan_reference, scan_orders
from lib.ops.selective_scan.native import image_scan_native, selective_scan_native, serves
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

    In C++ on a CPU with a compiler, in PyTorch elsewhere. Arguments, result and errors are those of
    `selective_scan_reference`.
    """
    scan = selective_scan_native if serves(u, A) else selective_scan_parallel
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
    """Return the sum of an image's scans by the fastest implementation for its device.

    In C++ nothing is copied into sequences or back. Arguments and result are those of `image_scan_reference`.
    """
    scan = image_scan_native if serves(u, A, dt.shape[-1]) else image_scan_reference
    return scan(u, dt, dt_weight, A, B, C, D, delta_bias, order)
