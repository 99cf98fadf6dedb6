"""The shipped student beside its teacher: Dice, speed and size, in torch, ONNX and int8.

``make starter TASK=student`` makes the weights, once; ``python -m benchmarks.students`` judges them, with ``--cases N``
on fewer held-out procedural cases, with ``--rounds N`` timed fewer times.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.cohorts import cohort, held_out
from benchmarks.machine import keep
from benchmarks.networks import interleaved
from lib.data.cases import Case
from lib.data.pipeline import IGNORE, read, save_label, window
from lib.data.validate import check
from lib.evaluation.metrics.overlap import dice
from lib.evaluation.metrics.topology import largest_component
from lib.learning.loop.validation import case_dice
from lib.models.inference.onnx import OnnxNetwork, export, quantise
from lib.models.inference.predictor import Predictor
from lib.models.student import StudentConv
from lib.tasks.serving.export import windows
from lib.tasks.serving.weights import build_network, served_weights
from lib.tasks.spec import TaskSpec, load_app

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "apps" / "airway"
TEACHER = "teacher"
CALIBRATION = {"count": 8, "seed": 1}
"""Cases that int8's ranges come from: of the starters' training cohort."""


class Plain(nn.Module):
    """A network that an `Engine` runs by torch, whatever else could run it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's logits."""
        return self.network(x)


def engines() -> tuple[dict[str, nn.Module], dict[str, float], TaskSpec]:
    """Return the networks by name, their sizes in MB, and how they read."""
    app = load_app(APP)
    large, small = app.task("topowmamba"), app.task("student")
    files = [served_weights(APP, task).path for task in (large, small)]
    teacher, student = (build_network(task, path) for task, path in zip((large, small), files, strict=True))
    assert isinstance(student, StudentConv), "the airway app's student"
    model = export(student, len(small.image.slice_offsets))
    seen = [
        each for case in cohort("calibration", **CALIBRATION) for each in windows(case, small.image, student.stride)
    ]
    less = quantise(model, seen)
    networks = {
        TEACHER: teacher,
        "student, torch": Plain(student),
        "student, ONNX": OnnxNetwork(student, model),
        "student, int8": OnnxNetwork(student, less),
    }
    sizes = [*(file.stat().st_size for file in files), len(model), len(less)]
    return networks, {name: size / 1e6 for name, size in zip(networks, sizes, strict=True)}, small


def labels_of(network: nn.Module, task: TaskSpec, path: Path, label: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and reference ``(X, Y, Z)`` on the grid of the reading."""
    reading = read(path, task.image, label)
    predictor = Predictor(network, roi=task.image.roi, slice_offsets=task.image.slice_offsets)
    assert reading.label is not None, "only what has a reference is judged"
    return predictor.labels(window(reading.hu, task.image.window_hu)).numpy(), reading.label.numpy()


def head_ct(networks: dict[str, nn.Module], task: TaskSpec) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return, by network, the Dice of all parts united with the real CT's reference, raw and by largest component."""
    scores, found = {}, {}
    for name, network in networks.items():
        paths = [ROOT / "sample-data" / kind / "head_ct.nii.gz" for kind in ("studies", "reference")]
        found[name], truth = labels_of(network, task, *paths)
        largest = largest_component(found[name] > 0, connectivity=6)
        scores[name] = {"raw": dice(found[name] > 0, truth > 0), "largest": dice(largest, truth > 0)}
    return scores, found


def procedural(networks: dict[str, nn.Module], task: TaskSpec, cases: list[Case]) -> dict[str, list[dict[str, Any]]]:
    """Return the Dice of every part on held-out procedural cases, and of all of them united."""
    scores: dict[str, list[dict[str, Any]]] = {}
    for name, network in networks.items():
        scores[name] = []
        for case in cases:
            found, truth = labels_of(network, task, case.image, case.label)
            valid = truth != IGNORE
            whole = dice((found > 0) & valid, (truth > 0) & valid)
            scores[name].append(case_dice(found, truth, task.labels) | {"airway": whole})
    return scores


def speed(networks: dict[str, nn.Module], task: TaskSpec, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds, round by round: of four windows, and of the head CT from file to file without imports."""
    shape = (4, len(task.image.slice_offsets), *task.image.roi)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image, result = ROOT / "sample-data" / "studies" / "head_ct.nii.gz", ROOT / "build" / "students.nii.gz"

    def window_call(network: nn.Module) -> Callable[[], Any]:
        return lambda: network(images)

    def file_call(network: nn.Module) -> Callable[[], Any]:
        predictor = Predictor(network, roi=task.image.roi, slice_offsets=task.image.slice_offsets)

        def work() -> None:
            reading = read(check(image), task.image)
            label = reading.restore(predictor.slabs(window(reading.hu, task.image.window_hu)))
            save_label(label, reading, result)

        return work

    with torch.inference_mode():
        windowed = interleaved({name: window_call(network) for name, network in networks.items()}, rounds)
        filed = interleaved({name: file_call(network) for name, network in networks.items()}, max(2, rounds // 3))
    return {"windows": windowed, "file": filed}


def times(taken: dict[str, list[float]], name: str) -> list[float]:
    """Return how many times as fast as the teacher, round by round."""
    return [theirs / ours for theirs, ours in zip(taken[TEACHER], taken[name], strict=True)]


def told(ratios: list[float]) -> str:
    """Render a median with its range."""
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"


def mean(scores: list[dict[str, Any]], keys: tuple[str, ...]) -> float:
    """Return the mean over cases of the mean over those classes that a case has a score for."""
    known = [[case[key] for key in keys if case[key] is not None] for case in scores]
    return statistics.fmean(statistics.fmean(values) for values in known if values)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(2)
    begin = time.perf_counter()
    networks, sizes, task = engines()
    taken = speed(networks, task, options.rounds)
    real, found = head_ct(networks, task)
    scores = procedural(networks, task, held_out()[: options.cases])
    lines = [
        "| network | MB | times the teacher's speed, windows | file to file | head CT, raw | largest | "
        "held out, parts | airway | share of the teacher's, head CT / parts |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    teacher = real[TEACHER]["raw"], mean(scores[TEACHER], task.labels)
    for name in networks:
        ours = real[name]["raw"], mean(scores[name], task.labels)
        cells = [f"{sizes[name]:.2f}", *(told(times(taken[what], name)) for what in ("windows", "file"))]
        cells += [f"{each:.3f}" for each in (ours[0], real[name]["largest"], ours[1], mean(scores[name], ("airway",)))]
        lines.append(f"| {name} | {' | '.join(cells)} | {ours[0] / teacher[0]:.3f} / {ours[1] / teacher[1]:.3f} |")
    same = {n: dice(found[n] > 0, found["student, torch"] > 0) for n in ("student, ONNX", "student, int8")}
    lines.append(
        f"\nMasks of the head CT against torch's, Dice: ONNX {same['student, ONNX']:.5f}, int8 "
        f"{same['student, int8']:.5f}. Two threads; windows are four of {len(task.image.slice_offsets)} x 224 x 224; "
        f"{options.rounds} interleaved rounds after one thrown away, median with range. {options.cases} held-out "
        "procedural cases (cohort seed 9000): they and one CT support no claim about patients. "
        f"{time.perf_counter() - begin:.0f} s in all."
    )
    command = f"python -m benchmarks.students --cases {options.cases} --rounds {options.rounds}"
    figures = {
        "ratios": times(taken["windows"], "student, ONNX"),
        "seconds": taken,
        "megabytes": sizes,
        "head_ct": real,
        "held_out": scores,
        "same_masks": same,
    }
    keep("students", command, figures, "\n".join(lines))


if __name__ == "__main__":
    main()
