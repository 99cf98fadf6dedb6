"""Selective scans in PyTorch and C++, compared with the plain recurrence, interleaved on one thread.

``python -m benchmarks.scan``; narrower vector units than the best of this machine are measured in a separate process.
"""

import json
import os
import statistics
import subprocess
import sys
from functools import partial

import torch

from benchmarks.harness.machine import retain_freed_memory
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import FORWARD, interleave, pass_name, ratios, time_pass
from benchmarks.speed.pscan import image_scan_pscan, selective_scan_pscan
from benchmarks.speed.scan_limits import limits
from lib.ops.native.build import machine_isa
from lib.ops.selective_scan import scan_orders
from lib.ops.selective_scan.native import image_scan_native, selective_scan_native
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.reference import selective_scan_reference

CHANNELS, ROUNDS, REPEATS = 192, 5, 40
LIMITS = ("its multiply-adds alone", "its states alone, in L1", "two arrays read, one written")
SHAPES = ((1, 4096), (16, 4096), (16, 16384))
SCANS = {
    "plain": selective_scan_reference,
    "pscan": selective_scan_pscan,
    "PyTorch": selective_scan_parallel,
    "C++": selective_scan_native,
}


def inputs(state: int, length: int) -> list[torch.Tensor]:
    """Return u, delta, A, B, C of one image, seeded; channels are innermost in memory, as after a convolution."""
    draw = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 1, length, CHANNELS, generator=draw).transpose(2, 3).unbind()
    a = -torch.rand(CHANNELS, state, generator=draw) - 0.5
    b, c = torch.randn(2, 1, length, 1, state, generator=draw).permute(0, 1, 3, 4, 2).unbind()
    return [tensor.detach().requires_grad_() for tensor in (u, delta.sigmoid() * 0.1, a, b, c)]


def measure_repeated(figures: list[dict]) -> list[str]:
    """Time the C++ scan in immediate repetition, so that its data stay in the processor's caches; return the table."""
    rows = []
    for row in figures:
        tensors, backward = inputs(row["state"], row["length"]), row["pass"] != FORWARD
        repeats = [time_pass(selective_scan_native, tensors, backward=backward) for _ in range(REPEATS)]
        row["again"] = repeats[REPEATS // 4 :]
        median = statistics.median(row["again"])
        times = [f"{1e3 * row['seconds']:.2f}", f"{1e3 * median:.2f}", f"{row['plain'] / median:.1f}x"]
        rows.append([str(row["state"]), str(row["length"]), row["pass"], *times])
    heads = ["C++, N", "L", "pass", "between the others, ms", "again and again, ms", "over the plain loop"]
    return markdown_table(heads, "rrlr", rows)


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
    return [operand.requires_grad_() for operand in (u, dt, weight, a, b, c, d, bias)] + [order]


def measure_core() -> tuple[list[str], list[dict]]:
    """Compare the core of SS2D with the same scans done separately: sequences cut out, scanned by pscan, merged."""
    rows, figures = [], []
    for state in (16, 1):
        operands = image_inputs(state)
        for backward in (False, True):
            timers = {
                name: partial(time_pass, scan, operands, backward=backward, leaves=operands[:-1])
                for name, scan in (("unfused", image_scan_pscan), ("native", image_scan_native))
            }
            taken = interleave(timers, ROUNDS)
            speedups = ratios(taken["unfused"], taken["native"])
            name, seconds = pass_name(backward), statistics.median(taken["native"])
            figures.append({"state": state, "pass": name, "ratios": speedups, "seconds": seconds})
            unfused_ms = f"{1e3 * statistics.median(taken['unfused']):.0f}"
            rows.append([f"N {state}", name, unfused_ms, median_range(speedups)])
    return markdown_table(
        ["core of SS2D, 64 x 64", "pass", "unfused pscan, ms", "C++ over unfused pscan"], "llrr", rows
    ), figures


def measure_limits(scans: list[dict], core: list[dict]) -> list[str]:
    """Measure the lower limits of every forward scan, and return their table with the shares of the scan's time."""
    rows = []
    for row in [row for row in (*scans, *core) if row["pass"] == FORWARD]:
        orders = 1 if "length" in row else 4
        length, taken = row.get("length", 4096), row["seconds"]
        row["limits"] = limits(row["state"], orders * length * CHANNELS)
        shares = [f"{1e3 * limit:.2f} ms, {limit / taken:.0%}" for limit in row["limits"].values()]
        name = f"N {row['state']}, L {length}" if orders == 1 else f"core of SS2D, N {row['state']}"
        rows.append([name, f"{1e3 * taken:.2f}", *shares])
    return markdown_table(["C++ forward", "ms", *LIMITS], "lr", rows)


def measure_with_isa(isa: str) -> list[float]:
    """Return the speed-ups of the forward scan at N 16, L 4096 with torch and kernels limited to other vector units."""
    command = [sys.executable, "-m", "benchmarks.scan", "forward"]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": isa}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_forward() -> list[float]:
    """Return the speed-ups of the C++ forward scan at N 16, L 4096."""
    tensors = inputs(16, 4096)
    scans = {"plain": selective_scan_reference, "native": selective_scan_native}
    taken = interleave(
        {name: partial(time_pass, scan, tensors, backward=False) for name, scan in scans.items()}, ROUNDS
    )
    return ratios(taken["plain"], taken["native"])


def measure_scans() -> tuple[list[str], list[dict]]:
    """Compare all scans with the plain loop."""
    rows, figures = [], []
    for state, length in SHAPES:
        tensors = inputs(state, length)
        for backward in (False, True):
            timers = {name: partial(time_pass, scan, tensors, backward=backward) for name, scan in SCANS.items()}
            taken = interleave(timers, ROUNDS)
            speedups = {name: ratios(taken["plain"], taken[name]) for name in list(SCANS)[1:]}
            name, plain = pass_name(backward), statistics.median(taken["plain"])
            seconds = statistics.median(taken["C++"])
            row = {"state": state, "length": length, "pass": name, "ratios": speedups, "seconds": seconds}
            figures.append(row | {"plain": plain})
            cells = [median_range(values) for values in speedups.values()]
            rows.append([str(state), str(length), name, f"{1e3 * plain:.0f}", *cells])
    heads = ["N", "L", "pass", "plain, ms", "log-depth pscan", "PyTorch", "C++"]
    return markdown_table(heads, "rrlr", rows), figures


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    retain_freed_memory()
    if sys.argv[1:] == ["forward"]:
        return print(json.dumps(measure_forward()))
    lines, figures = measure_scans()
    note = (
        f"Speed-up over the plain loop, median and range of {ROUNDS} interleaved rounds after one warm-up round;"
        f" one image, {CHANNELS} channels, float32, one thread, {machine_isa()}; 'default' is the"
        "\nbaseline build. Limits: the least of twenty runs of benchmarks/speed/scan_limits.cpp,"
        " and their share of the scan's time."
    )
    core, core_figures = measure_core()
    held = {isa: measure_with_isa(isa) for isa in ("avx2", "default") if isa != machine_isa()}
    rows = [[isa, median_range(speedups)] for isa, speedups in held.items()]
    vectors = markdown_table(["vector units", "C++ forward, N 16, L 4096, over the plain loop"], "lr", rows)
    repeated = measure_repeated(figures)
    bounds = measure_limits(figures, core_figures)
    table = "\n".join([*lines, "", *repeated, "", *core, "", *bounds, "", *vectors, "", note])
    return write_result(
        "scan", "python -m benchmarks.scan", {"rows": figures, "core": core_figures, "held": held}, table
    )
