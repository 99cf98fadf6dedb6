"""Seeded operands and gradients, with which every implementation of the scan is tested."""

from collections.abc import Callable

import torch

from lib.ops.selective_scan import scan_orders

NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def operands(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return tensors with gradients, by name, for a shape ``(batch, channels, groups, state, length)``."""
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
    """Run a scan with softplus, and return its output and the gradients of a weighted sum of the output."""
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
    """Return tensors with gradients in the order of the arguments of an image scan, and the orders of its scans."""
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
    return [tensor.to(dtype).requires_grad_() for tensor in tensors], scan_orders(shape)
