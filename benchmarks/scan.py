"""The selective scans, in PyTorch and in C++, against the plain recurrence: interleaved in one run, one thread.

``python -m benchmarks.scan``
"""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.machine import keep
from lib.ops.native.build import machine_isa
from lib.ops.selective_scan.native import selective_scan_native
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.reference import selective_scan_reference

CHANNELS, ROUNDS = 192, 5
SHAPES = ((1, 4096), (16, 4096), (16, 16384))
SCANS = {"plain": selective_scan_reference, "PyTorch": selective_scan_parallel, "C++": selective_scan_native}


def inputs(state: int, length: int) -> list[torch.Tensor]:
    """Return u, delta, A, B, C of one image, seeded; channels innermost in memory, as a convolution leaves them."""
    draw = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 1, length, CHANNELS, generator=draw).transpose(2, 3).unbind()
    a = -torch.rand(CHANNELS, state, generator=draw) - 0.5
    b, c = torch.randn(2, 1, length, 1, state, generator=draw).permute(0, 1, 3, 4, 2).unbind()
    return [tensor.detach().requires_grad_() for tensor in (u, delta.sigmoid() * 0.1, a, b, c)]


def seconds(scan: Callable[..., torch.Tensor], tensors: list[torch.Tensor], *, backward: bool) -> float:
    """Time one call."""
    begin = time.perf_counter()
    with torch.set_grad_enabled(backward):
        result = scan(*tensors)
    if backward:
        torch.autograd.grad(result.sum(), tensors)
    return time.perf_counter() - begin


def spread(ratios: list[float]) -> str:
    """Render a median with its range."""
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    lines = ["| N | L | pass | plain, ms | PyTorch | C++ |", "|---:|---:|---|---:|---:|---:|"]
    figures = []
    for state, length in SHAPES:
        tensors = inputs(state, length)
        for backward in (False, True):
            rounds = [[seconds(scan, tensors, backward=backward) for scan in SCANS.values()] for _ in range(ROUNDS + 1)]
            plain, *others = zip(*rounds[1:], strict=True)
            ratios = {
                name: [a / b for a, b in zip(plain, taken, strict=True)]
                for name, taken in zip(list(SCANS)[1:], others, strict=True)
            }
            name = "forward + backward" if backward else "forward"
            figures.append({"state": state, "length": length, "pass": name, "ratios": ratios})
            cells = " | ".join(spread(values) for values in ratios.values())
            lines.append(f"| {state} | {length} | {name} | {1e3 * statistics.median(plain):.0f} | {cells} |")
    note = (
        f"\nSpeed-up over the plain loop, median and range of {ROUNDS} interleaved rounds after one thrown away;"
        f" one image, {CHANNELS} channels, float32, one thread, {machine_isa()}."
    )
    keep("scan", "python -m benchmarks.scan", {"rows": figures}, "\n".join(lines) + "\n" + note)


if __name__ == "__main__":
    main()
