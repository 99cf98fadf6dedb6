"""Operands of a scan, seeded, and a run of one with its gradients; what every implementation is tested on."""

from collections.abc import Callable

import torch

from lib.ops.selective_scan import scan_orders

NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def operands(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return leaves by name for ``(batch, channels, groups, state, length)``."""
    batch, channels, groups, state, length = shape
    draw = torch.Generator().manual_seed(seed)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw, dtype=torch.float64)

    tensors = {
        "u": random(batch, channels, length),
        "delta": random(batch, channels, length) - 2,
        "A": -random(channels, state).exp(),
        "B": random(batch, groups, state, length),
        "C": random(batch, groups, state, length),
        "D": random(channels),
        "delta_bias": random(channels) * 0.1,
    }
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in tensors.items()}


def run(
    scan: Callable[..., torch.Tensor], tensors: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return the scan with softplus, and the gradients of a weighted sum of it."""
    *positional, bias = tensors.values()
    y = scan(*positional, delta_bias=bias, delta_softplus=True)
    return y, gradients(y, list(tensors.values()))


def gradients(y: torch.Tensor, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return the gradients of a weighted sum of `y`."""
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)
    return torch.autograd.grad((y * weight).sum(), tensors)


def image_operands(
    batch: int, channels: int, shape: tuple[int, ...], state: int, rank: int, dtype: torch.dtype
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the leaves of an image's scans, in the order of their arguments, and the order of its places."""
    draw = torch.Generator().manual_seed(channels)
    scans, length = 2 * len(shape), torch.Size(shape).numel()

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw, dtype=torch.float64)

    tensors = [
        random(batch, length, channels),
        random(batch, length, scans, rank),
        random(scans, channels, rank) / rank**0.5,
        -random(scans * channels, state).exp(),
        random(batch, length, scans, state),
        random(batch, length, scans, state),
        random(scans * channels),
        random(scans * channels) - 2,
    ]
    return [each.to(dtype).requires_grad_() for each in tensors], scan_orders(shape)
