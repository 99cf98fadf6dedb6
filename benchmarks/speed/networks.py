"""Time and memory of the networks: a forward pass, a training step, and the real head CT from file to file.

``python -m benchmarks.networks``; to run some parts only, name them: ``forward``, ``training``, ``head_ct``.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from benchmarks.harness.machine import peak_mib
from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import ratios, time_calls
from lib.data.pipeline import read, write_label
from lib.data.validate import check
from lib.learning.losses.deep_supervision import deep_supervision_loss
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.models import BUILDERS
from lib.models.blocks.layout import channels_last, convert_to_channels_last
from lib.models.inference.predictor import Predictor
from lib.tasks.spec import load_app

NAMES = ("dynunet", "topowmamba_tiny", "topowmamba_small", "topowmamba_base", "vmunet", "segresnet")
TRAINED = ("dynunet", "dynunet_small", "topowmamba_small")
CLASSES, SIDE, ROUNDS = 8, 256, 7
PATCH, BATCH, SLICES = 224, 4, 7


def build(name: str, channels: int = 1, classes: int = CLASSES) -> nn.Module:
    """Return a network with seeded random weights."""
    torch.manual_seed(0)
    return BUILDERS[name](spatial_dims=2, in_channels=channels, out_channels=classes)


def millions(network: nn.Module) -> float:
    """Return the number of parameters, in millions."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def over_dynunet(taken: dict[str, list[float]], name: str) -> str:
    """Render the time of a network over that of DynUNet: median and range over rounds."""
    return median_range(ratios(taken[name], taken["dynunet"]), ".2f", "")


def forward() -> tuple[list[str], dict[str, Any]]:
    """Time a forward pass of one image in float32 and, if the processor supports it, in bfloat16.

    Without support, oneDNN uses a reference implementation that takes a minute per pass.
    """
    networks = {name: build(name).eval() for name in NAMES}
    image = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    image_channels_last = channels_last(image)
    swapped = convert_to_channels_last(build("dynunet").eval())
    calls: dict[str, Callable[[], Any]] = {name: partial(network, image) for name, network in networks.items()}
    calls["dynunet, channels last"] = lambda: swapped(image_channels_last)
    taken = {}
    with torch.inference_mode():
        for precision in ("float32", "bfloat16")[: 1 + torch.ops.mkldnn._is_mkldnn_bf16_supported()]:
            single = precision == "float32"
            with nullcontext() if single else torch.autocast("cpu", torch.bfloat16):
                taken[precision] = time_calls(calls, ROUNDS)
    heads = ["network", "parameters, M", "float32, ms", "over DynUNet", "bfloat16, ms", "over DynUNet in bfloat16"]
    rows = []
    for name in calls:
        size = millions(networks.get(name, swapped))
        cells = ["-"] * 4
        for at, precision in enumerate(taken):
            cells[2 * at] = f"{1e3 * statistics.median(taken[precision][name]):.0f}"
            cells[2 * at + 1] = over_dynunet(taken[precision], name)
        rows.append([name, f"{size:.1f}", *cells])
    title = f"## Forward, {SIDE} x {SIDE}, {CLASSES} classes, one thread: time over DynUNet's\n"
    return [title, *markdown_table(heads, "lr", rows)], taken


def training_step(name: str) -> Callable[[], None]:
    """Return a function for one training step: 2.5-D slices, Dice and cross-entropy at every scale, AdamW."""
    network = build(name, SLICES).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, SLICES, PATCH, PATCH, generator=draw)
    labels = torch.randint(CLASSES, (BATCH, PATCH, PATCH), generator=draw)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        deep_supervision_loss(dice_ce_loss, network(images), labels).backward()
        optimizer.step()

    return step


def run_process(*arguments: str) -> dict[str, float]:
    """Run a part of this benchmark in a separate process and return the figures that it prints."""
    command = [sys.executable, "-m", "benchmarks.networks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def training() -> tuple[list[str], dict[str, Any]]:
    """Time a training step; measure its memory in a separate process."""
    taken = time_calls({name: training_step(name) for name in TRAINED}, 5)
    memory = {name: run_process("training-memory", name)["mib"] for name in TRAINED}
    rows = []
    for name in TRAINED:
        cells = [f"{statistics.median(taken[name]):.2f}", over_dynunet(taken, name)]
        rows.append([name, *cells, f"{memory[name]:.0f}", f"{memory[name] / memory['dynunet']:.2f}"])
    heads = ["network", "seconds", "over DynUNet", "memory of three steps, MiB", "over DynUNet"]
    title = f"## Training step, {BATCH} x {SLICES} x {PATCH} x {PATCH}, float32, one thread\n"
    return [title, *markdown_table(heads, "lr", rows)], {"seconds": taken, "mib": memory}


def segment(name: str, image: Path, result: Path) -> None:
    """Segment one file with the steps of the server and random weights."""
    spec = load_app(ROOT / "apps" / "airway").task("topowmamba")
    reading = read(check(image), spec.image)
    network = build(name, len(spec.image.slice_offsets), len(spec.labels) + 1)
    predictor = Predictor(network, roi=spec.image.roi, slice_offsets=spec.image.slice_offsets)
    label = reading.restore(predictor.slabs(reading.normalised()))
    write_label(label, reading, result)


def head_ct() -> tuple[list[str], dict[str, Any]]:
    """Time whole processes, including imports, from the file of the CT to the file of the label."""
    image = next((ROOT / "sample-data" / "studies").glob("head_ct.nii*"))
    taken: dict[str, list[float]] = {name: [] for name in NAMES}
    memory: dict[str, list[float]] = {name: [] for name in NAMES}
    with TemporaryDirectory() as folder:
        for _ in range(3):
            for name in NAMES:
                begin = time.perf_counter()
                figures = run_process("segment", name, str(image), str(Path(folder) / "label.nii.gz"))
                taken[name].append(time.perf_counter() - begin)
                memory[name].append(figures["mib"])
    rows = []
    for name in NAMES:
        seconds, peak = statistics.median(taken[name]), statistics.median(memory[name])
        rows.append([name, f"{seconds:.1f}", over_dynunet(taken, name), f"{peak:.0f}"])
    lines = markdown_table(["network", "seconds", "over DynUNet", "peak memory, MiB"], "lr", rows)
    title = "## The head CT from file to file, whole process, two threads, random weights\n"
    return [title, *lines], {"seconds": taken, "mib": memory}


PARTS = {"forward": forward, "training": training, "head_ct": head_ct}


def child(part: str, name: str, *paths: str) -> None:
    """Run one part of a measurement in this process and print its figures as JSON."""
    if part == "segment":
        torch.set_num_threads(2)
        segment(name, Path(paths[0]), Path(paths[1]))
        return print(json.dumps({"mib": peak_mib()}))
    torch.set_num_threads(1)
    step, before = training_step(name), peak_mib()
    for _ in range(3):
        step()
    return print(json.dumps({"mib": peak_mib() - before}))


def main() -> None:
    """Run from the command line."""
    if sys.argv[1:2] in (["segment"], ["training-memory"]):
        return child(*sys.argv[1:])
    torch.set_num_threads(1)
    rows, figures = [], {}
    for name in sys.argv[1:] or PARTS:
        part, figures[name] = PARTS[name]()
        rows += [*part, ""]
    note = f"Medians of interleaved rounds ({ROUNDS}, 5 and 3) after one warm-up round, range in parentheses."
    command = " ".join(["python -m benchmarks.networks", *sys.argv[1:]])
    return write_result("networks", command, figures, "\n".join([*rows, note]))
