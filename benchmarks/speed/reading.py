"""The pipeline around the network, from file to file, compared with stock MONAI; one thread, one process per run.

``python -m benchmarks.reading``
"""

import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness.machine import peak_mib
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from benchmarks.speed.torso import ORGANS, SHAPE, Organs, truth, write_scan
from lib.data.pipeline import ImageSpec, read, write_label
from lib.data.validate import check
from lib.jobs.failure_watch import check_finite
from lib.models.inference.predictor import Predictor
from lib.ops.windows import window_starts

SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window=(-1000.0, 400.0), roi=(192, 192, 64), crop_margin_mm=10.0)
OVERLAP, BATCH = 0.25, 4
ORDER = ("lean", "stock", "lean", "lean", "stock", "lean")
STAGES: tuple[str, ...] = ("load", "to 1 mm", "window", "blend", "softmax", "to the file's grid", "argmax", "save")
MOST_GIB = 19
"""Limit of the address space of a process, so that a run without enough memory fails and the machine survives."""


class Stages:
    """Time per stage of one run."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._start = time.perf_counter()

    def end(self, stage: str, outside: float = 0.0) -> None:
        """End a stage; `outside` seconds of it, the time of the network, are not counted."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._start - outside
        self._start = now


def stock(image: Path, result: Path, stages: Stages) -> None:
    """Run the usual transforms of a MONAI bundle: resample the probabilities to the grid of the file, then argmax."""
    from monai import transforms
    from monai.inferers.inferer import SlidingWindowInferer

    low, high = SPEC.window
    steps: list[tuple[str, Any]] = [
        ("load", transforms.LoadImaged("image")),
        ("load", transforms.EnsureChannelFirstd("image")),
        ("to 1 mm", transforms.Orientationd("image", axcodes="RAS", labels=None)),
        ("to 1 mm", transforms.Spacingd("image", pixdim=SPEC.spacing_mm, mode="bilinear")),
        ("window", transforms.ScaleIntensityRanged("image", low, high, 0, 1, clip=True)),
    ]
    data: Any = {"image": str(image)}
    for stage, transform in steps:
        data = transform(data)
        stages.end(stage)
    network = Organs(data["image"].affine.numpy())
    infer = SlidingWindowInferer(SPEC.roi, BATCH, OVERLAP, mode="gaussian", with_coord=True)
    with torch.inference_mode():
        blended = infer(
            data["image"][None], lambda x, places: network.at(x, [[s.start for s in p[2:]] for p in places])
        )
    data["pred"] = blended[0]  # type: ignore[index]
    del blended
    stages.end("blend", network.seconds)
    inverse = transforms.Compose([transform for _, transform in steps])
    label = transforms.SaveImaged(
        "pred",
        output_dir=result.parent,
        output_postfix="",
        separate_folder=False,
        print_log=False,
        output_dtype=np.uint8,
        resample=False,
    )
    back: list[tuple[str, Any]] = [
        ("softmax", transforms.Activationsd("pred", softmax=True)),
        ("to the file's grid", transforms.Invertd("pred", inverse, orig_keys="image", nearest_interp=False)),
        ("argmax", transforms.AsDiscreted("pred", argmax=True)),
        ("save", label),
    ]
    for stage, transform in back:
        data = transform(data)
        stages.end(stage)


def lean(image: Path, result: Path, stages: Stages) -> None:
    """Run the steps of `lib.tasks.segmentation.segmenter`; the input gate counts as loading."""
    source = check(image)
    stages.end("load")
    reading = read(source, SPEC)
    stages.end("to 1 mm")
    volume = reading.normalised()
    stages.end("window")
    starts = (window_starts(n, side, OVERLAP) for n, side in zip(volume.shape[1:], SPEC.roi, strict=True))
    x, y, z = starts
    network = Organs(reading.affine, [(i, j, k) for k, i, j in itertools.product(z, x, y)])
    predictor = Predictor(network, roi=SPEC.roi, overlap=OVERLAP, batch_size=BATCH)

    def slabs() -> Iterator[tuple[int, torch.Tensor]]:
        for start, slab in predictor.slabs(volume):
            check_finite(slab)
            stages.end("blend", network.seconds)
            network.seconds = 0.0
            yield start, slab
            stages.end("to the file's grid")

    label = reading.restore(slabs())
    stages.end("to the file's grid")
    write_label(label, reading, result)
    stages.end("save")


def run_process(name: str, image: Path, result: Path) -> dict[str, Any]:
    """Run one pipeline in a separate process and return its figures."""
    command = [sys.executable, "-m", "benchmarks.reading", name, str(image), str(result)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure(name: str, image: Path, result: Path) -> None:
    """Print seconds by stage and the peak memory in addition to the imports, as JSON."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_GIB << 30, MOST_GIB << 30))
    import monai.inferers.inferer
    import monai.transforms  # noqa: F401

    before, stages = peak_mib(), Stages()
    {"stock": stock, "lean": lean}[name](image, result, stages)
    print(json.dumps({"seconds": stages.seconds, "peak_mib": peak_mib() - before}))


def ratios(runs: dict[str, list[dict[str, Any]]]) -> list[float]:
    """Return the time of the stock run over the time of every lean run next to it."""
    totals = {name: [sum(run["seconds"].values()) for run in group] for name, group in runs.items()}
    per_stock = len(totals["lean"]) // len(totals["stock"])
    return [totals["stock"][index // per_stock] / taken for index, taken in enumerate(totals["lean"])]


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return a table of the medians by stage."""
    rows = []
    for stage in (*STAGES, "all"):
        stock_s, lean_s = (
            statistics.median(
                sum(run["seconds"].values()) if stage == "all" else run["seconds"][stage] for run in runs[name]
            )
            for name in ("stock", "lean")
        )
        ratio = f"{stock_s / lean_s:.1f}x" if lean_s else "-"
        rows.append([stage, f"{stock_s:.2f}", f"{lean_s:.2f}", ratio])
    return markdown_table(["stage", "stock, s", "lean, s", "ratio"], "lr", rows)


def main() -> None:
    """Run from the command line."""
    if len(sys.argv) == 4:
        return measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    runs: dict[str, list[dict[str, Any]]] = {"stock": [], "lean": []}
    with TemporaryDirectory() as folder:
        image = Path(folder) / "ct.nii.gz"
        write_scan(image)
        results = {name: Path(folder) / name / "ct.nii.gz" for name in runs}
        for name in ORDER:
            runs[name].append(run_process(name, image, results[name]))
        labels = {name: np.asarray(nib.load(path).dataobj) for name, path in results.items()}  # type: ignore[attr-defined]
    exact = truth()
    rows = []
    for name, label in labels.items():
        dice = np.mean([overlap(label == k, exact == k) for k in range(1, ORGANS + 1)])
        peak = statistics.median(run["peak_mib"] for run in runs[name])
        rows.append([name, f"{dice:.4f}", f"{np.mean(label == exact):.5f}", f"{peak:.0f}"])
    same = float(np.mean(labels["lean"] == labels["stock"]))
    speedups = ratios(runs)
    heads = ["result", "Dice of the organs with the closed form", "equal voxels", "peak memory beyond imports, MiB"]
    note = (
        f"From file to file {statistics.median(speedups):.1f}x as fast ({min(speedups):.1f}-{max(speedups):.1f}).\n"
        f"A synthetic CT of {' x '.join(map(str, SHAPE))} voxels, {ORGANS + 1} classes; organs in closed form replace"
        f" the network, and their time is not counted.\nBoth labels agree on {100 * same:.3f} % of the voxels. One"
        f" thread, one process per run, medians of {len(runs['lean'])} and {len(runs['stock'])} interleaved runs."
    )
    lines = [*table(runs), "", *markdown_table(heads, "lr", rows), "", note]
    figures = {"runs": runs, "ratios": speedups, "agreement": same}
    write_result("reading", "python -m benchmarks.reading", figures, "\n".join(lines))


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())
