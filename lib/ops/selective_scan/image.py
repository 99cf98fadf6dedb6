"""The scans of one image in several orders, added up: the core of SS2D and SS3D."""

import torch
from torch import Tensor

from lib.ops.scan_paths import PATHS
from lib.ops.selective_scan.parallel import selective_scan_parallel


def scan_orders(shape: tuple[int, ...], device: torch.device | str = "cpu", *, paths: str = "axes") -> Tensor:
    """Return the orders of the scans as places in the flattened image, int32 ``(K, L)`` with K = 2 len(S).

    Args:
        shape: Spatial shape S of the image, two axes or three.
        device: Where the table lies.
        paths: A key of `PATHS`; every path is taken forwards, then every one backwards. ``"axes"`` is `cross_scan`.
    Raises:
        ValueError: If `paths` is unknown.
    """
    if paths not in PATHS:
        raise ValueError(f"unknown paths {paths!r}; there are {', '.join(PATHS)}")
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
    """Return the sum of K selective scans of one image, each in its own order, softplus on the biased steps.

    Everything lies in the order of the image; a scan reads the image, and its own steps and matrices, through its
    order, and adds its answer to the place it was read from.

    Args:
        u: Image, channels last, ``(B, L, E)``.
        dt: What the step sizes are projected from, ``(B, L, K, R)``.
        dt_weight: The projection of each scan, ``(K, E, R)``; its products are the steps before bias and softplus.
        A: State matrices, ``(K * E, N)``.
        B: Input matrices, ``(B, L, K, N)``.
        C: Output matrices, ``(B, L, K, N)``.
        D: Skip connections, ``(K * E,)``.
        delta_bias: Added to the projected steps, ``(K * E,)``.
        order: Each scan's places in turn, integers ``(K, L)``; every row holds every place once.
    Returns:
        ``(B, L, E)``, dtype of ``u``.
    Source:
        Liu et al. 2024, arXiv:2401.10166 (SS2D).
    """
    order, scans = order.long(), torch.arange(len(order), device=order.device)[:, None]
    sequences = u[:, order].permute(0, 1, 3, 2).flatten(1, 2)
    steps = torch.einsum("blkr,ker->kble", dt, dt_weight)
    steps = steps[scans, :, order].permute(2, 0, 3, 1).flatten(1, 2)
    b, c = (each[:, order, scans].transpose(2, 3) for each in (B, C))
    y = selective_scan_parallel(sequences, steps, A, b, c, D, delta_bias=delta_bias, delta_softplus=True)
    y = y.unflatten(1, (len(order), -1)).transpose(2, 3)
    back = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return y[:, scans, back].sum(1)
