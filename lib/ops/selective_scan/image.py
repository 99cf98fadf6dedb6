"""Sum of the selective scans of one image in several orders: the core of SS2D and SS3D."""

import torch
from torch import Tensor

from lib.ops.scan_paths import PATHS
from lib.ops.selective_scan.parallel import selective_scan_parallel


def scan_orders(shape: tuple[int, ...], device: torch.device | str = "cpu", *, paths: str = "axes") -> Tensor:
    """Return the order of every scan as positions in the flattened image, int32 ``(K, L)`` with K = 2 len(S).

    Args:
        shape: Spatial shape S of the image, with two or three axes.
        device: Device of the returned tensor.
        paths: A key of `PATHS`. The orders are all paths forwards, then all paths backwards; ``"axes"`` gives the
            orders of `cross_scan`.
    Raises:
        ValueError: If `paths` is unknown.
    """
    if paths not in PATHS:
        raise ValueError(f"unknown paths {paths!r}; use one of {', '.join(PATHS)}")
    forward = PATHS[paths](tuple(shape))
    return torch.cat((forward, forward.flip(-1))).int().to(device)


def image_scan_reference(
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
    """Return the sum of K selective scans of one image, every scan in its own order, with softplus on the biased steps.

    All operands and the result have their tokens in the order of the image. A scan reads its operands through its order
    and adds its output at the position that it read.

    Args:
        u: Image with channels last, ``(B, L, E)``.
        dt: Low-rank step sizes, ``(B, L, K, R)``.
        dt_weight: Projection of `dt` for every scan, ``(K, E, R)``; the products are the steps before bias and
            softplus.
        A: State matrices, ``(K * E, N)``.
        B: Input matrices, ``(B, L, K, N)``.
        C: Output matrices, ``(B, L, K, N)``.
        D: Skip connections, ``(K * E,)``.
        delta_bias: Bias of the projected steps, ``(K * E,)``.
        order: Positions that every scan visits, in turn, integers ``(K, L)``; a row contains every position once.
    Returns:
        ``(B, L, E)``, dtype of ``u``.
    Source:
        Liu et al. 2024, arXiv:2401.10166 (SS2D).
    """
    order, scans = order.long(), torch.arange(len(order), device=order.device)[:, None]
    sequences = u[:, order].permute(0, 1, 3, 2).flatten(1, 2)
    steps = torch.einsum("blkr,ker->kble", dt, dt_weight)
    steps = steps[scans, :, order].permute(2, 0, 3, 1).flatten(1, 2)
    b, c = (matrix[:, order, scans].transpose(2, 3) for matrix in (B, C))
    y = selective_scan_parallel(sequences, steps, A, b, c, D, delta_bias=delta_bias, delta_softplus=True)
    y = y.unflatten(1, (len(order), -1)).transpose(2, 3)
    inverse = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return y[:, scans, inverse].sum(1)
