"""The Triton scan on a GPU, compared with PyTorch, with mamba-ssm if installed, and with the bandwidth of the device.

``python -m benchmarks.scan_gpu``
"""

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from benchmarks.harness.timing import interleave, pass_name, ratios
from lib.ops.selective_scan.gpu import image_scan_gpu
from lib.ops.selective_scan.image import image_scan_reference, scan_orders
from lib.ops.selective_scan.mamba import selective_scan_mamba

CHANNELS, RANKS, ROUNDS = 192, 12, 11
SIDES, SCANS, STATES = (64, 128, 256), (1, 4), (1, 16)
COPIED = 2**28  # float32 numbers, far more than any cache can store


def operands(side: int, scans: int, states: int) -> tuple[list[Tensor], Tensor]:
    """Return the seeded operands of the scans of one image, as leaves on the GPU, and the scan orders."""
    draw = torch.Generator("cuda").manual_seed(0)
    length = side * side

    def random(*size: int) -> Tensor:
        return torch.randn(*size, generator=draw, device="cuda")

    tensors = [
        random(1, length, CHANNELS),
        random(1, length, scans, RANKS),
        random(scans, CHANNELS, RANKS) / RANKS**0.5,
        -random(scans * CHANNELS, states).exp(),
        random(1, length, scans, states),
        random(1, length, scans, states),
        random(scans * CHANNELS),
        random(scans * CHANNELS) - 4,
    ]
    return [tensor.requires_grad_() for tensor in tensors], scan_orders((side, side), "cuda")[:scans]


def by_sequences(tensors: list[Tensor], order: Tensor) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Return the scan of mamba-ssm and its operands: sequences cut and steps projected in advance, no merge."""
    u, dt, weight, A, B, C, D, bias = (tensor.detach() for tensor in tensors)
    places = order.long()
    sequences = u[:, places].permute(0, 1, 3, 2).flatten(1, 2)
    steps = torch.einsum("blkr,ker->bkel", dt, weight)
    index = places[None, :, None].expand_as(steps)
    b, c = (torch.stack([matrix[:, row, k].transpose(1, 2) for k, row in enumerate(places)], 1) for matrix in (B, C))
    leaves = [sequences, steps.gather(-1, index).flatten(1, 2), A, b, c, D, bias]

    def scan(*operands: Tensor) -> Tensor:
        return selective_scan_mamba(*operands[:-1], delta_bias=operands[-1], delta_softplus=True)

    return scan, [leaf.contiguous().requires_grad_() for leaf in leaves]


def milliseconds(call: Callable[[], Any]) -> float:
    """Return the milliseconds of one call on the device."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def bandwidth() -> float:
    """Return the bandwidth of a copy, read and written bytes, in bytes per millisecond."""
    source = torch.empty(COPIED, device="cuda")
    target = torch.empty_like(source)
    taken = [milliseconds(lambda: target.copy_(source)) for _ in range(ROUNDS)]
    return 2 * source.nbytes / statistics.median(taken)


def least_bytes(side: int, scans: int, states: int) -> int:
    """Return the least bytes that the scans move in float32: u, steps and result of every order once, B and C."""
    return 4 * scans * side * side * (3 * CHANNELS + 2 * states)


def calls(side: int, scans: int, states: int, *, backward: bool) -> dict[str, Callable[[], Any]]:
    """Return the calls to time, by name."""
    tensors, order = operands(side, scans, states)

    def in_order(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *leaves: scan(*leaves, order)

    candidates = {"Triton": (in_order(image_scan_gpu), tensors), "PyTorch": (in_order(image_scan_reference), tensors)}
    if find_spec("mamba_ssm") is not None:
        candidates["mamba-ssm"] = by_sequences(tensors, order)

    def timed(scan: Callable[..., Tensor], leaves: list[Tensor]) -> Callable[[], Any]:
        def run() -> None:
            with torch.set_grad_enabled(backward):
                result = scan(*leaves)
            if backward:
                torch.autograd.grad(result.sum(), leaves)

        return run

    return {name: timed(*candidate) for name, candidate in candidates.items()}


def measure(side: int, scans: int, states: int, copied: float, *, backward: bool) -> dict[str, Any]:
    """Return the median milliseconds of interleaved calls, and the ratios to the Triton scan."""
    timed = calls(side, scans, states, backward=backward)
    rounds = interleave({name: partial(milliseconds, call) for name, call in timed.items()}, ROUNDS, discard=2)
    taken = {name: statistics.median(values) for name, values in rounds.items()}
    floor = least_bytes(side, scans, states) / copied
    return {
        "states": states,
        "scans": scans,
        "length": side * side,
        "pass": pass_name(backward),
        "milliseconds": taken,
        "ratios": {name: statistics.median(ratios(values, rounds["Triton"])) for name, values in rounds.items()},
        "of floor": None if backward else floor / taken["Triton"],
    }


def cells(figure: dict[str, Any]) -> list[str]:
    """Return the cells of one row of the table."""
    speedups, floor = figure["ratios"], figure["of floor"]
    mamba = f"{speedups['mamba-ssm']:.1f}x" if "mamba-ssm" in speedups else "not installed"
    return [
        *(str(figure[key]) for key in ("states", "scans", "length", "pass")),
        f"{1e3 * figure['milliseconds']['Triton']:.0f}",
        f"{speedups['PyTorch']:.1f}x",
        mamba,
        "" if floor is None else f"{floor:.0%}",
    ]


def main() -> None:
    """Run from the command line."""
    if not torch.cuda.is_available():
        print("benchmarks.scan_gpu: this machine has no GPU, nothing was measured")
        return
    copied = bandwidth()
    figures = [
        measure(side, scans, states, copied, backward=backward)
        for states in STATES
        for scans in SCANS
        for side in SIDES
        for backward in (False, True)
    ]
    heads = ["N", "K", "L", "pass", "Triton, us", "over PyTorch", "over mamba-ssm", "of the bandwidth floor"]
    note = (
        f"One image, {CHANNELS} channels, float32; median of {ROUNDS} interleaved rounds after two warm-up rounds. The"
        f" Triton scan projects its steps ({RANKS} ranks) and adds up its K orders; mamba-ssm gets sequences cut and"
        f" steps projected in advance and merges nothing. The floor: u, steps and result of every order moved once, B"
        f" and C, at the {copied / 1e6:.0f} GB/s of a copy on this device."
    )
    lines = [*markdown_table(heads, "rrrlr", map(cells, figures)), "", note]
    result = {"copy_gb_per_s": copied / 1e6, "rows": figures}
    write_result("scan_gpu", "python -m benchmarks.scan_gpu", result, "\n".join(lines))
