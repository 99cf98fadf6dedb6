"""Everything around the network, from file to file, beside the stock MONAI pipeline; one thread, a process each.

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

from benchmarks.machine import keep, peak_mib
from benchmarks.torso import ORGANS, SHAPE, Organs, truth, write_scan
from lib.data.pipeline import ImageSpec, read, save_label, window
from lib.data.validate import check
from lib.jobs.watch import check_finite
from lib.models.inference.predictor import Predictor
from lib.ops.windows import window_starts

SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window_hu=(-1000.0, 400.0), roi=(192, 192, 64), crop_margin_mm=10.0)
OVERLAP, BATCH = 0.25, 4
ORDER = ("lean", "stock", "lean", "lean", "stock", "lean")
STAGES: tuple[str, ...] = ("load", "to 1 mm", "window", "blend", "softmax", "to the file's grid", "argmax", "save")
MOST_GIB = 19
"""Address space of a process: the stock side must fail alone rather than take the machine with it."""


class Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._begin = time.perf_counter()

    def end(self, stage: str, outside: float = 0.0) -> None:
        """Close a stage, of which `outside` seconds were the network's."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._begin - outside
        self._begin = now


def stock(image: Path, result: Path, stages: Stages) -> None:
    """Run a MONAI bundle's usual transforms: bring the probabilities to the file's grid, then take the largest."""
    from monai import transforms
    from monai.inferers.inferer import SlidingWindowInferer

    low, high = SPEC.window_hu
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
    """Run what `lib.tasks.segmentation.segmenter` runs; the input gate counts as loading."""
    source = check(image)
    stages.end("load")
    reading = read(source, SPEC)
    stages.end("to 1 mm")
    volume = window(reading.hu, SPEC.window_hu)
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
    save_label(label, reading, result)
    stages.end("save")


def side(name: str, image: Path, result: Path) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reading", name, str(image), str(result)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def measure(name: str, image: Path, result: Path) -> None:
    """Print seconds by stage and the memory held beyond the imports, as JSON."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_GIB << 30, MOST_GIB << 30))
    import monai.inferers.inferer
    import monai.transforms  # noqa: F401

    before, stages = peak_mib(), Stages()
    {"stock": stock, "lean": lean}[name](image, result, stages)
    print(json.dumps({"seconds": stages.seconds, "peak_mib": peak_mib() - before}))


def ratios(runs: dict[str, list[dict[str, Any]]]) -> list[float]:
    """Return the stock side's time over that of each lean run beside it."""
    totals = {name: [sum(run["seconds"].values()) for run in each] for name, each in runs.items()}
    beside = len(totals["lean"]) // len(totals["stock"])
    return [totals["stock"][index // beside] / taken for index, taken in enumerate(totals["lean"])]


def table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return rows of medians by stage."""
    rows = ["| stage | stock, s | lean, s | ratio |", "|---|---:|---:|---:|"]
    for stage in (*STAGES, "all"):
        stock_s, lean_s = (
            statistics.median(
                sum(run["seconds"].values()) if stage == "all" else run["seconds"][stage] for run in runs[name]
            )
            for name in ("stock", "lean")
        )
        ratio = f"{stock_s / lean_s:.1f}x" if lean_s else "-"
        rows.append(f"| {stage} | {stock_s:.2f} | {lean_s:.2f} | {ratio} |")
    return rows


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
            runs[name].append(side(name, image, results[name]))
        labels = {name: np.asarray(nib.load(path).dataobj) for name, path in results.items()}  # type: ignore[attr-defined]
    exact = truth()
    rows = ["| result | Dice of the organs with the closed form | equal voxels | peak memory beyond imports, MiB |"]
    rows.append("|---|---:|---:|---:|")
    for name, label in labels.items():
        dice = np.mean([overlap(label == k, exact == k) for k in range(1, ORGANS + 1)])
        peak = statistics.median(run["peak_mib"] for run in runs[name])
        rows.append(f"| {name} | {dice:.4f} | {np.mean(label == exact):.5f} | {peak:.0f} |")
    same = float(np.mean(labels["lean"] == labels["stock"]))
    each = ratios(runs)
    note = (
        f"From file to file {statistics.median(each):.1f}x as fast ({min(each):.1f}-{max(each):.1f}).\n"
        f"A synthetic CT of {' x '.join(map(str, SHAPE))} voxels, {ORGANS + 1} classes; organs in closed form stand in"
        f" for the network and their time is left out.\nBoth labels agree on {100 * same:.3f} % of the voxels. One"
        f" thread, a process each, medians of {len(runs['lean'])} and {len(runs['stock'])} interleaved runs."
    )
    parts = ["\n".join(table(runs)), "\n".join(rows), note]
    keep(
        "reading", "python -m benchmarks.reading", {"runs": runs, "ratios": each, "agreement": same}, "\n\n".join(parts)
    )


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


if __name__ == "__main__":
    main()
