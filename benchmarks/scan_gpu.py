"""The Triton scan on a GPU against the scan in PyTorch, mamba-ssm where installed, and the bandwidth of the device.

``python -m benchmarks.scan_gpu``
"""

import statistics
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import keep
from lib.ops.selective_scan.gpu import image_scan_gpu
from lib.ops.selective_scan.image import image_scan_reference, scan_orders
from lib.ops.selective_scan.mamba import selective_scan_mamba

CHANNELS, RANKS, ROUNDS = 192, 12, 11
SIDES, SCANS, STATES = (64, 128, 256), (1, 4), (1, 16)
COPIED = 2**28  # numbers, far more than any cache holds


def operands(side: int, scans: int, states: int) -> tuple[list[Tensor], Tensor]:
    """Return the operands of an image's scans, seeded, leaves on the GPU, and the orders."""
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
    return [each.requires_grad_() for each in tensors], scan_orders((side, side), "cuda")[:scans]


def by_sequences(tensors: list[Tensor], order: Tensor) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """Return the scan of mamba-ssm and its operands: sequences already cut, steps projected, nothing merged."""
    u, dt, weight, A, B, C, D, bias = (each.detach() for each in tensors)
    places = order.long()
    sequences = u[:, places].permute(0, 1, 3, 2).flatten(1, 2)
    steps = torch.einsum("blkr,ker->bkel", dt, weight)
    index = places[None, :, None].expand_as(steps)
    b, c = (torch.stack([each[:, row, k].transpose(1, 2) for k, row in enumerate(places)], 1) for each in (B, C))
    leaves = [sequences, steps.gather(-1, index).flatten(1, 2), A, b, c, D, bias]

    def scan(*operands: Tensor) -> Tensor:
        return selective_scan_mamba(*operands[:-1], delta_bias=operands[-1], delta_softplus=True)

    return scan, [each.contiguous().requires_grad_() for each in leaves]


def milliseconds(call: Callable[[], Any]) -> float:
    """Time one call on the device."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def bandwidth() -> float:
    """Return what a copy moves, read and written, in bytes per millisecond."""
    source = torch.empty(COPIED, device="cuda")
    target = torch.empty_like(source)
    taken = [milliseconds(lambda: target.copy_(source)) for _ in range(ROUNDS)]
    return 2 * source.nbytes / statistics.median(taken)


def least_bytes(side: int, scans: int, states: int) -> int:
    """Return what the scans move at least in float32: u, steps and result of each once, B and C."""
    return 4 * scans * side * side * (3 * CHANNELS + 2 * states)


def calls(side: int, scans: int, states: int, *, backward: bool) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    tensors, order = operands(side, scans, states)

    def in_order(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *each: scan(*each, order)

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
    """Return the median milliseconds of interleaved calls, and the ratios."""
    timed = calls(side, scans, states, backward=backward)
    rounds = [{name: milliseconds(call) for name, call in timed.items()} for _ in range(ROUNDS + 2)][2:]
    taken = {name: statistics.median(each[name] for each in rounds) for name in timed}
    floor = least_bytes(side, scans, states) / copied
    return {
        "states": states,
        "scans": scans,
        "length": side * side,
        "pass": "forward + backward" if backward else "forward",
        "milliseconds": taken,
        "ratios": {name: statistics.median(each[name] / each["Triton"] for each in rounds) for name in timed},
        "of floor": None if backward else floor / taken["Triton"],
    }


def row(figure: dict[str, Any]) -> str:
    """Render one line of the table."""
    ratios, floor = figure["ratios"], figure["of floor"]
    mamba = f"{ratios['mamba-ssm']:.1f}x" if "mamba-ssm" in ratios else "not installed"
    return (
        f"| {figure['states']} | {figure['scans']} | {figure['length']} | {figure['pass']}"
        f" | {1e3 * figure['milliseconds']['Triton']:.0f} | {ratios['PyTorch']:.1f}x | {mamba}"
        f" | {'' if floor is None else f'{floor:.0%}'} |"
    )


def main() -> None:
    """Run from the command line."""
    if not torch.cuda.is_available():
        print("benchmarks.scan_gpu: no GPU on this machine, nothing measured")
        return
    copied = bandwidth()
    figures = [
        measure(side, scans, states, copied, backward=backward)
        for states in STATES
        for scans in SCANS
        for side in SIDES
        for backward in (False, True)
    ]
    head = (
        "| N | K | L | pass | Triton, us | over PyTorch | over mamba-ssm | of the bandwidth floor |\n"
        "|---:|---:|---:|---|---:|---:|---:|---:|"
    )
    note = (
        f"\nOne image, {CHANNELS} channels, float32; median of {ROUNDS} interleaved rounds after two thrown away. The"
        f" scan projects its steps ({RANKS} ranks) and adds up its K orders; that of mamba-ssm gets sequences cut and"
        f" steps projected beforehand and merges nothing. The floor: u, steps and result of every order moved once, B"
        f" and C, at the {copied / 1e6:.0f} GB/s of a copy on this device."
    )
    table = "\n".join([head, *map(row, figures)])
    keep(
        "scan_gpu",
        "python -m benchmarks.scan_gpu",
        {"copy_gb_per_s": copied / 1e6, "rows": figures},
        table + "\n" + note,
    )


if __name__ == "__main__":
    main()
