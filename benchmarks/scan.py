"""The selective scan that trains, against the plain recurrence: interleaved pairs in one run.

``python -m benchmarks.scan``
"""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.machine import keep
from lib.ops.selective_scan import selective_scan
from lib.ops.selective_scan.reference import selective_scan_reference

CHANNELS, PAIRS = 192, 3
SHAPES = ((1, 1024), (1, 4096), (16, 1024), (16, 4096))


def inputs(state: int, length: int) -> list[torch.Tensor]:
    """Return u, delta, A, B, C of one image, seeded."""
    draw = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 1, CHANNELS, length, generator=draw).unbind()
    a = -torch.rand(CHANNELS, state, generator=draw) - 0.5
    b, c = torch.randn(2, 1, 1, state, length, generator=draw).unbind()
    return [tensor.requires_grad_() for tensor in (u, delta.sigmoid() * 0.1, a, b, c)]


def seconds(scan: Callable[..., torch.Tensor], tensors: list[torch.Tensor], *, backward: bool) -> float:
    """Time one call."""
    begin = time.perf_counter()
    with torch.set_grad_enabled(backward):
        result = scan(*tensors)
    if backward:
        torch.autograd.grad(result.sum(), tensors)
    return time.perf_counter() - begin


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    lines = ["| N | L | pass | plain, ms | ours, ms | speed-up, median (range) |", "|---:|---:|---|---:|---:|---:|"]
    figures = []
    for state, length in SHAPES:
        tensors = [tensor.detach().requires_grad_() for tensor in inputs(state, length)]
        for backward in (False, True):
            pairs = [
                tuple(seconds(scan, tensors, backward=backward) for scan in (selective_scan_reference, selective_scan))
                for _ in range(PAIRS + 1)
            ][1:]
            ratios = sorted(plain / ours for plain, ours in pairs)
            plain, ours = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
            name = "forward + backward" if backward else "forward"
            figures.append({"state": state, "length": length, "pass": name, "ratios": ratios})
            spread = f"{statistics.median(ratios):.1f}x ({ratios[0]:.1f}-{ratios[-1]:.1f})"
            lines.append(f"| {state} | {length} | {name} | {plain:.0f} | {ours:.1f} | {spread} |")
    keep("scan", "python -m benchmarks.scan", {"rows": figures}, "\n".join(lines))


if __name__ == "__main__":
    main()
