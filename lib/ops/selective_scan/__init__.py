"""Export the one selective scan that the models use; this is the only place where an implementation is chosen."""

from torch import Tensor

from lib.ops.selective_scan.native.scan import selective_scan_native, serves
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.reference import selective_scan_reference

__all__ = ["selective_scan", "selective_scan_reference"]


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
