"""The shipped student compared with its teacher: Dice, speed and size, in torch, ONNX and int8.

``make starter TASK=student`` trains the weights; ``python -m benchmarks.students`` judges them. ``--cases N`` sets the
number of held-out procedural cases, ``--rounds N`` the number of timed rounds.
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

from benchmarks.harness.cohorts import cohort, held_out
from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import ratios, time_calls
from lib.data.cases import Case
from lib.data.pipeline import IGNORE, read, write_label
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

APP = ROOT / "apps" / "airway"
TEACHER = "teacher"
CALIBRATION = {"count": 8, "seed": 1}
"""Cohort for the value ranges of int8: cases of the training cohort of the starters."""


class Plain(nn.Module):
    """A wrapper that makes an `Engine` run a network by torch, even if another engine could run it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's logits."""
        return self.network(x)


def engines() -> tuple[dict[str, nn.Module], dict[str, float], TaskSpec]:
    """Return the networks by name, their sizes in MB, and the task of the student."""
    app = load_app(APP)
    large, small = app.task("topowmamba"), app.task("student")
    files = [served_weights(APP, task).path for task in (large, small)]
    teacher, student = (build_network(task, path) for task, path in zip((large, small), files, strict=True))
    assert isinstance(student, StudentConv), "the student task of the airway app has a StudentConv"
    model = export(student, len(small.image.slice_offsets))
    inputs = [
        item for case in cohort("calibration", **CALIBRATION) for item in windows(case, small.image, student.stride)
    ]
    quantised = quantise(model, inputs)
    networks = {
        TEACHER: teacher,
        "student, torch": Plain(student),
        "student, ONNX": OnnxNetwork(student, model),
        "student, int8": OnnxNetwork(student, quantised),
    }
    sizes = [*(file.stat().st_size for file in files), len(model), len(quantised)]
    return networks, {name: size / 1e6 for name, size in zip(networks, sizes, strict=True)}, small


def labels_of(network: nn.Module, task: TaskSpec, path: Path, label: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and reference ``(X, Y, Z)`` on the grid of the preprocessing."""
    reading = read(path, task.image, label)
    predictor = Predictor(network, roi=task.image.roi, slice_offsets=task.image.slice_offsets)
    assert reading.label is not None, "a case without a reference cannot be judged"
    return predictor.labels(reading.normalised()).numpy(), reading.label.numpy()


def head_ct(networks: dict[str, nn.Module], task: TaskSpec) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return by network the Dice of all classes united on the real CT, raw and largest component, and the labels."""
    scores, found = {}, {}
    for name, network in networks.items():
        paths = [ROOT / "sample-data" / kind / "head_ct.nii.gz" for kind in ("studies", "reference")]
        found[name], truth = labels_of(network, task, *paths)
        largest = largest_component(found[name] > 0, connectivity=6)
        scores[name] = {"raw": dice(found[name] > 0, truth > 0), "largest": dice(largest, truth > 0)}
    return scores, found


def procedural(networks: dict[str, nn.Module], task: TaskSpec, cases: list[Case]) -> dict[str, list[dict[str, Any]]]:
    """Return the Dice of every class, and of their union, on held-out procedural cases."""
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
    """Return the seconds of four windows, and of the head CT from file to file without imports, round by round."""
    shape = (4, len(task.image.slice_offsets), *task.image.roi)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image, result = ROOT / "sample-data" / "studies" / "head_ct.nii.gz", ROOT / "build" / "students.nii.gz"

    def window_call(network: nn.Module) -> Callable[[], Any]:
        return lambda: network(images)

    def file_call(network: nn.Module) -> Callable[[], Any]:
        predictor = Predictor(network, roi=task.image.roi, slice_offsets=task.image.slice_offsets)

        def work() -> None:
            reading = read(check(image), task.image)
            label = reading.restore(predictor.slabs(reading.normalised()))
            write_label(label, reading, result)

        return work

    with torch.inference_mode():
        windowed = time_calls({name: window_call(network) for name, network in networks.items()}, rounds)
        filed = time_calls({name: file_call(network) for name, network in networks.items()}, max(2, rounds // 3))
    return {"windows": windowed, "file": filed}


def speedups(taken: dict[str, list[float]], name: str) -> list[float]:
    """Return the speed of a network as a multiple of the teacher's speed, round by round."""
    return ratios(taken[TEACHER], taken[name])


def mean(scores: list[dict[str, Any]], keys: tuple[str, ...]) -> float:
    """Return the mean over cases of the mean over the classes that have a score in the case."""
    known = [[case[key] for key in keys if case[key] is not None] for case in scores]
    return statistics.fmean(statistics.fmean(values) for values in known if values)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(2)
    start = time.perf_counter()
    networks, sizes, task = engines()
    taken = speed(networks, task, options.rounds)
    real, found = head_ct(networks, task)
    scores = procedural(networks, task, held_out()[: options.cases])
    rows = []
    teacher = real[TEACHER]["raw"], mean(scores[TEACHER], task.labels)
    for name in networks:
        raw, classes = real[name]["raw"], mean(scores[name], task.labels)
        union = mean(scores[name], ("airway",))
        cells = [median_range(speedups(taken[part], name), unit="") for part in ("windows", "file")]
        cells += [f"{value:.3f}" for value in (raw, real[name]["largest"], classes, union)]
        share = f"{raw / teacher[0]:.3f} / {classes / teacher[1]:.3f}"
        rows.append([name, f"{sizes[name]:.2f}", *cells, share])
    heads = ["network", "MB", "times the teacher's speed, windows", "file to file", "head CT, raw", "largest"]
    heads += ["held out, parts", "airway", "share of the teacher's, head CT / parts"]
    lines = markdown_table(heads, "lr", rows)
    same = {n: dice(found[n] > 0, found["student, torch"] > 0) for n in ("student, ONNX", "student, int8")}
    lines.append(
        f"\nMasks of the head CT against torch's, Dice: ONNX {same['student, ONNX']:.5f}, int8 "
        f"{same['student, int8']:.5f}. Two threads; windows are four of {len(task.image.slice_offsets)} x 224 x 224; "
        f"{options.rounds} interleaved rounds after one warm-up round, median with range. {options.cases} held-out "
        "procedural cases (cohort seed 9000); these and one CT support no claim about patients. "
        f"{time.perf_counter() - start:.0f} s in total."
    )
    command = f"python -m benchmarks.students --cases {options.cases} --rounds {options.rounds}"
    figures = {
        "ratios": speedups(taken["windows"], "student, ONNX"),
        "seconds": taken,
        "megabytes": sizes,
        "head_ct": real,
        "held_out": scores,
        "same_masks": same,
    }
    write_result("students", command, figures, "\n".join(lines))
