"""The selective scans, in PyTorch and in C++, against the plain recurrence: interleaved in one run, one thread.

``python -m benchmarks.scan``; vector units below this machine's best are measured in a process of their own.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.machine import keep, keep_memory
from benchmarks.pscan import image_scan_pscan, selective_scan_pscan
from benchmarks.scan_limits import limits
from lib.ops.native.build import machine_isa
from lib.ops.selective_scan import scan_orders
from lib.ops.selective_scan.native import image_scan_native, selective_scan_native
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.reference import selective_scan_reference

CHANNELS, ROUNDS, AT_ONCE = 192, 5, 40
LIMITS = ("its multiply-adds alone", "its states alone, in L1", "two arrays read, one written")
SHAPES = ((1, 4096), (16, 4096), (16, 16384))
SCANS = {
    "plain": selective_scan_reference,
    "pscan": selective_scan_pscan,
    "PyTorch": selective_scan_parallel,
    "C++": selective_scan_native,
}


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


def in_cache(figures: list[dict]) -> list[str]:
    """Say what the C++ scan takes again and again, when nobody else empties the caches between two calls."""
    lines = ["| C++, N | L | pass | between the others, ms | again and again, ms | over the plain loop |"]
    lines.append("|---:|---:|---|---:|---:|---:|")
    for row in figures:
        tensors, backward = inputs(row["state"], row["length"]), row["pass"] != "forward"
        taken = [seconds(selective_scan_native, tensors, backward=backward) for _ in range(AT_ONCE)][AT_ONCE // 4 :]
        row["again"] = taken
        ratio = row["plain"] / statistics.median(taken)
        cells = f"{1e3 * row['seconds']:.2f} | {1e3 * statistics.median(taken):.2f} | {ratio:.1f}x"
        lines.append(f"| {row['state']} | {row['length']} | {row['pass']} | {cells} |")
    return lines


def image_inputs(state: int, side: int = 64, rank: int = 6) -> list[torch.Tensor]:
    """Return the operands of `image_scan`, seeded: u, dt, its projection, A, B, C, D, bias and the four orders."""
    draw = torch.Generator().manual_seed(0)
    order = scan_orders((side, side))
    scans, length = order.shape
    u = torch.randn(1, length, CHANNELS, generator=draw)
    dt = torch.randn(1, length, scans, rank, generator=draw)
    weight = torch.randn(scans, CHANNELS, rank, generator=draw) / rank**0.5
    a = -torch.rand(scans * CHANNELS, state, generator=draw) - 0.5
    b, c = torch.randn(2, 1, length, scans, state, generator=draw).unbind()
    d, bias = torch.ones(scans * CHANNELS), torch.full((scans * CHANNELS,), -4.0)
    return [each.requires_grad_() for each in (u, dt, weight, a, b, c, d, bias)] + [order]


def images() -> tuple[list[str], list[dict]]:
    """Compare the core of SS2D with the same scans taken apart: sequences cut out, scanned by pscan, merged."""
    lines = ["| core of SS2D, 64 x 64 | pass | unfused pscan, ms | C++ over unfused pscan |", "|---|---|---:|---:|"]
    figures = []
    for state in (16, 1):
        operands = image_inputs(state)
        for backward in (False, True):
            scans = (image_scan_pscan, image_scan_native)
            rounds = [[image_seconds(scan, operands, backward) for scan in scans] for _ in range(ROUNDS + 1)]
            unfused, native = zip(*rounds[1:], strict=True)
            ratios = [a / b for a, b in zip(unfused, native, strict=True)]
            name = "forward + backward" if backward else "forward"
            figures.append({"state": state, "pass": name, "ratios": ratios, "seconds": statistics.median(native)})
            lines.append(f"| N {state} | {name} | {1e3 * statistics.median(unfused):.0f} | {spread(ratios)} |")
    return lines, figures


def image_seconds(scan: Callable[..., torch.Tensor], operands: list[torch.Tensor], backward: bool) -> float:
    """Time one call of an image scan."""
    begin = time.perf_counter()
    with torch.set_grad_enabled(backward):
        result = scan(*operands)
    if backward:
        torch.autograd.grad(result.sum(), operands[:-1])
    return time.perf_counter() - begin


def bounds(rows: list[dict], core: list[dict]) -> list[str]:
    """Say what each forward scan could take at least, and the share of its time that this is."""
    lines = ["| C++ forward | ms | " + " | ".join(LIMITS) + " |", "|---|---:" + "|---:" * len(LIMITS) + "|"]
    for row in [each for each in (*rows, *core) if each["pass"] == "forward"]:
        scans = 1 if "length" in row else 4
        length, taken = row.get("length", 4096), row["seconds"]
        row["limits"] = limits(row["state"], scans * length * CHANNELS)
        shares = " | ".join(f"{1e3 * each:.2f} ms, {each / taken:.0%}" for each in row["limits"].values())
        name = f"N {row['state']}, L {length}" if scans == 1 else f"core of SS2D, N {row['state']}"
        lines.append(f"| {name} | {1e3 * taken:.2f} | {shares} |")
    return lines


def narrower(isa: str) -> list[float]:
    """Return the speed-ups of the forward scan at N 16, L 4096 with torch and kernels held to other vector units."""
    command = [sys.executable, "-m", "benchmarks.scan", "forward"]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": isa}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def forward_only() -> list[float]:
    """Return the speed-ups of the C++ forward scan at N 16, L 4096."""
    tensors, scans = inputs(16, 4096), (selective_scan_reference, selective_scan_native)
    rounds = [[seconds(scan, tensors, backward=False) for scan in scans] for _ in range(ROUNDS + 1)]
    return [plain / native for plain, native in rounds[1:]]


def spread(ratios: list[float]) -> str:
    """Render a median with its range."""
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    keep_memory()
    if sys.argv[1:] == ["forward"]:
        return print(json.dumps(forward_only()))
    lines = ["| N | L | pass | plain, ms | log-depth pscan | PyTorch | C++ |", "|---:|---:|---|---:|---:|---:|---:|"]
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
            taken = statistics.median(others[-1])
            row = {"state": state, "length": length, "pass": name, "ratios": ratios, "seconds": taken}
            figures.append(row | {"plain": statistics.median(plain)})
            cells = " | ".join(spread(values) for values in ratios.values())
            lines.append(f"| {state} | {length} | {name} | {1e3 * statistics.median(plain):.0f} | {cells} |")
    note = (
        f"\nSpeed-up over the plain loop, median and range of {ROUNDS} interleaved rounds after one thrown away;"
        f" one image, {CHANNELS} channels, float32, one thread, {machine_isa()}; 'default' is the"
        "\nbaseline build. Limits: the least of twenty runs of benchmarks/scan_limits.cpp,"
        " and their share of the scan's time."
    )
    core, core_figures = images()
    held = {isa: narrower(isa) for isa in ("avx2", "default") if isa != machine_isa()}
    rows = [f"| {isa} | {spread(ratios)} |" for isa, ratios in held.items()]
    vectors = ["| vector units | C++ forward, N 16, L 4096, over the plain loop |", "|---|---:|", *rows]
    again = in_cache(figures)
    table = "\n".join([*lines, "", *again, "", *core, "", *bounds(figures, core_figures), "", *vectors, note])
    return keep("scan", "python -m benchmarks.scan", {"rows": figures, "core": core_figures, "held": held}, table)


if __name__ == "__main__":
    main()
