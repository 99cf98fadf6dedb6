"""A task's served student as an ONNX file for other programs, in float32 or int8, with what that changes."""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case, find_cases
from lib.data.files.atomic import replacing
from lib.data.pipeline import ImageSpec, read, window
from lib.learning.loop.validation import case_dice
from lib.models.inference.onnx import OnnxNetwork, export, quantise
from lib.models.inference.predictor import Predictor
from lib.models.student import StudentConv
from lib.tasks.serving.weights import build_network, served_weights
from lib.tasks.spec import SpecError, load_app

CASES, WINDOWS = 16, 8
"""How many images, and how many windows of each, tell the ranges of activations."""


def export_student(app_dir: str | Path, task: str, out: Path, *, images: Path | None = None) -> dict[str, Any]:
    """Write the served version of a student as ONNX.

    Args:
        app_dir: The app's folder.
        task: The student's task.
        out: File to write.
        images: Folder of images to find int8's ranges on; None writes float32.
    Returns:
        JSON-safe: the file, its size in MB, the version and, of int8, ``agreement``: its Dice with float32 on the
        images, by class.
    Raises:
        SpecError: If the task's network is no convolutional student.
        ValueError: If there is no image to find ranges on.
    """
    spec = load_app(app_dir).task(task)
    served = served_weights(app_dir, spec)
    network = build_network(spec, served.path)
    if not isinstance(network, StudentConv):
        raise SpecError(f"task '{task}' is a {spec.model}: only student_conv is exported")
    model, told = export(network, len(spec.image.slice_offsets), spec.dimension), {}
    if images is not None:
        cases = find_cases(images)[:CASES]
        if not cases:
            raise ValueError(f"there is no image in {images} to find the ranges of activations on")
        model = quantise(model, [each for case in cases for each in windows(case, spec.image, network.stride)])
        told["agreement"] = agreement(network, model, cases, spec.image, spec.labels)
    with replacing(out) as partial:
        partial.write_bytes(model)
    return {"output": str(out), "version": served.name, "megabytes": round(len(model) / 1e6, 2), **told}


def windows(case: Case, spec: ImageSpec, stride: int, count: int = WINDOWS) -> list[torch.Tensor]:
    """Return windows ``(1, C, *roi)`` from the middle of a case, evenly along its last axis.

    Args:
        case: An image.
        spec: How it is read.
        stride: Sides are cut to multiples of this.
        count: How many.
    """
    volume = window(read(case.image, spec).hu, spec.window_hu)[0]
    sides = [
        max(stride, min(side, size) // stride * stride) for side, size in zip(spec.roi, volume.shape, strict=False)
    ]
    low = [max(0, (size - side) // 2) for side, size in zip(sides, volume.shape, strict=False)]
    volume = volume[tuple(slice(first, first + side) for first, side in zip(low[:2], sides[:2], strict=True))]
    if len(spec.roi) == 3:
        return [volume[None, None, ..., low[2] : low[2] + sides[2]]]
    places = np.linspace(0, volume.shape[-1] - 1, count).round().astype(int)
    near = [np.clip(place + np.array(spec.slice_offsets), 0, volume.shape[-1] - 1) for place in places]
    return [volume[..., each].movedim(-1, 0)[None].contiguous() for each in near]


def agreement(
    network: nn.Module, model: bytes, cases: list[Case], spec: ImageSpec, labels: tuple[str, ...]
) -> dict[str, float]:
    """Return the Dice of a graph's labels with those of the network it came from, the mean over cases by class."""
    assert isinstance(network, StudentConv), "what was exported"
    sides = [
        Predictor(each, roi=spec.roi, slice_offsets=spec.slice_offsets)
        for each in (network, OnnxNetwork(network, model))
    ]
    scores = []
    for case in cases:
        volume = window(read(case.image, spec).hu, spec.window_hu)
        whole, small = (side.labels(volume).numpy() for side in sides)
        scores.append(case_dice(small, whole, labels))
    found = {name: [score[name] for score in scores if score[name] is not None] for name in labels}
    return {name: round(fmean(values), 4) for name, values in found.items() if values}
