"""Small kernels, forward and with gradients if they have any, compared with plain PyTorch on one thread.

``python -m benchmarks.kernels``
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness.machine import retain_freed_memory
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import interleave, pass_name, ratios, time_pass
from lib.models.blocks.layout import channels_last
from lib.ops.resample import Positions, interpolated_argmax
from lib.ops.snake_conv import DynamicSnakeConv
from lib.ops.wavelet import dwt, idwt
from lib.ops.windows import add_window

ROUNDS = 15


class HaarByConvolution(nn.Module):
    """The Haar transform and its inverse as grouped convolutions with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        low, high = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([1.0, -1.0]) / 2**0.5
        filters = torch.stack([torch.outer(a, b) for a in (low, high) for b in (low, high)])[:, None]
        self.filters, self.channels = filters.repeat(channels, 1, 1, 1), channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the image after decomposition and reconstruction."""
        bands = F.conv2d(x, self.filters, stride=2, groups=self.channels)
        return F.conv_transpose2d(bands, self.filters, stride=2, groups=self.channels)


class SnakeByGridSample(nn.Module):
    """Dynamic snake convolution by bilinear sampling of all taps and a strided convolution, as published code does."""

    def __init__(self, layer: DynamicSnakeConv, channels: int) -> None:
        super().__init__()
        self.layer, taps = layer, layer.kernel_size
        self.strip = nn.Conv2d(channels, channels, (1, taps), stride=(1, taps))

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` from an image and the offsets of its taps."""
        taps, (_, _, height, width) = self.layer.kernel_size, x.shape
        curves = self.layer._accumulate(offsets.unflatten(1, (1, taps)))[:, 0]
        rows = torch.arange(height)[:, None, None] + torch.zeros(width, taps) + curves.permute(0, 2, 3, 1)
        columns = torch.arange(width)[:, None] + torch.arange(taps) - taps // 2 + torch.zeros_like(rows)
        grid = torch.stack((columns * 2 / (width - 1) - 1, rows * 2 / (height - 1) - 1), -1).flatten(2, 3)
        return self.strip(F.grid_sample(x, grid, padding_mode="border", align_corners=True))


def wavelet_pair(x: Tensor) -> Tensor:
    """Return the image after decomposition and reconstruction."""
    return idwt(dwt(x), x.shape[2:])


def plain_window(slab: Tensor, window: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Return the slab with a weighted window added."""
    return slab.addcmul_(window, x[:, None, None] * y[:, None] * z)


def native_window(slab: Tensor, window: Tensor, *weights: Tensor) -> Tensor:
    """Return the slab with a weighted window added."""
    add_window(slab, window, weights, slab.shape[1:])
    return slab


def plain_classes(below: Tensor, above: Tensor) -> Tensor:
    """Return the classes at twice the resolution, by interpolation of all logits."""
    between = torch.lerp(below, above, 0.4)[None]
    return F.interpolate(between, scale_factor=2.0, mode="bilinear", align_corners=True)[0].argmax(0)


def native_classes(below: Tensor, above: Tensor) -> Tensor:
    """Return the classes at twice the resolution."""
    axes = (torch.linspace(0, size - 1, 2 * size, dtype=torch.float64) for size in below.shape[1:])
    rows, columns = (Positions.at(axis, size) for axis, size in zip(axes, below.shape[1:], strict=True))
    return interpolated_argmax(below, above, 0.4, rows, columns)


def cases() -> dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[Tensor, ...]]]:
    """Return by name the plain implementation, the kernel, and the operands of both."""
    torch.manual_seed(0)
    image = channels_last(torch.randn(1, 64, 128, 128)).requires_grad_()
    offsets = (torch.rand(1, 9, 128, 128) - 0.5).requires_grad_()
    window, weights = torch.randn(14, 192, 192, 64), [torch.rand(size) for size in (192, 192, 64)]
    flat, slab = torch.zeros(14, 192, 192, 64), torch.zeros(64, 14, 192, 192).permute(1, 2, 3, 0)
    slices = F.avg_pool2d(torch.randn(2, 14, 360, 280), 15, 1, 7).unbind()
    snake = DynamicSnakeConv(2, 64, 64, axis=1)
    return {
        "Haar pair, 64 x 128 x 128 (grouped convolutions)": (HaarByConvolution(64), wavelet_pair, (image,)),
        "snake, 64 x 128 x 128, k 9 (grid_sample)": (SnakeByGridSample(snake, 64), snake.convolve, (image, offsets)),
        "window into a slab of whole slices, 14 x 192 x 192 x 64 (addcmul)": (
            partial(plain_window, slab),
            partial(native_window, slab),
            (window, *weights),
        ),
        "the same (addcmul into a slab with the window's layout, which restoring would have to turn)": (
            partial(plain_window, flat),
            partial(native_window, slab),
            (window, *weights),
        ),
        "classes between slices, 14 x 360 x 280 to double (lerp, interpolate, argmax)": (
            plain_classes,
            native_classes,
            slices,
        ),
    }


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    retain_freed_memory()
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    for name, (plain, kernel, operands) in cases().items():
        for backward in (False, True)[: 1 + any(operand.requires_grad for operand in operands)]:
            timers = {
                "plain": partial(time_pass, plain, operands, backward=backward),
                "kernel": partial(time_pass, kernel, operands, backward=backward),
            }
            taken = interleave(timers, ROUNDS)
            speedups = ratios(taken["plain"], taken["kernel"])
            figures.append({"kernel": name, "pass": pass_name(backward), "ratios": speedups})
            plain_ms = f"{1e3 * statistics.median(taken['plain']):.1f}"
            rows.append([name, pass_name(backward), plain_ms, median_range(speedups)])
    lines = markdown_table(["kernel (plain implementation)", "pass", "plain, ms", "speed-up"], "llrr", rows)
    note = (
        f"Median and range of {ROUNDS} interleaved rounds after one warm-up round; float32, channels last,\none thread."
    )
    write_result("kernels", "python -m benchmarks.kernels", {"rows": figures}, "\n".join([*lines, "", note]))
