"""Export the served student of a task to ONNX in float32 or int8, and measure the agreement of int8 with float32."""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case, find_cases
from lib.data.files.atomic import replacing
from lib.data.pipeline import ImageSpec, read
from lib.learning.loop.validation import case_dice
from lib.models.inference.onnx import OnnxNetwork, export, quantise
from lib.models.inference.predictor import Predictor
from lib.models.student import StudentConv
from lib.tasks.serving.weights import build_network, served_weights
from lib.tasks.spec import SpecError, load_app

CASES, WINDOWS = 16, 8
"""Number of images, and of windows per image, from which the int8 ranges of activations are measured."""


def export_student(app_dir: str | Path, task: str, out: Path, *, images: Path | None = None) -> dict[str, Any]:
    """Write the served version of a student to an ONNX file.

    Args:
        app_dir: The app's folder.
        task: Name of the student's task.
        out: File to write.
        images: Folder of images from which the int8 ranges of activations are measured; None writes float32.
    Returns:
        JSON-safe: the file, its size in MB, the version and, for int8, ``agreement``: Dice between the int8 and the
        float32 labels of the images, by class.
    Raises:
        SpecError: If the task's network is not a convolutional student.
        ValueError: If the folder has no image.
    """
    spec = load_app(app_dir).task(task)
    served = served_weights(app_dir, spec)
    network = build_network(spec, served.path)
    if not isinstance(network, StudentConv):
        raise SpecError(f"task '{task}' has the model {spec.model}: name a task with the model student_conv")
    model, facts = export(network, spec.image.channel_count * len(spec.image.slice_offsets), spec.dimension), {}
    if images is not None:
        cases = find_cases(images)[:CASES]
        if not cases:
            raise ValueError(f"{images} has no image: int8 needs images to measure the ranges of activations")
        model = quantise(model, [patch for case in cases for patch in windows(case, spec.image, network.stride)])
        facts["agreement"] = agreement(network, model, cases, spec.image, spec.labels)
    with replacing(out) as partial:
        partial.write_bytes(model)
    return {"output": str(out), "version": served.name, "megabytes": round(len(model) / 1e6, 2), **facts}


def windows(case: Case, spec: ImageSpec, stride: int, count: int = WINDOWS) -> list[torch.Tensor]:
    """Return windows ``(1, C, *roi)`` from the middle of a case, evenly spaced along its last axis.

    Args:
        case: A case; only its image is read.
        spec: Spacing, window and roi for reading it.
        stride: The sides of a window are cut to multiples of this, in voxels.
        count: Number of windows of a 2-D roi; a 3-D roi gives one window.
    """
    volume = read(case.image, spec).normalised()
    sizes = volume.shape[1:]
    sides = [max(stride, min(side, size) // stride * stride) for side, size in zip(spec.roi, sizes, strict=False)]
    low = [max(0, (size - side) // 2) for side, size in zip(sides, sizes, strict=False)]
    volume = volume[:, low[0] : low[0] + sides[0], low[1] : low[1] + sides[1]]
    if len(spec.roi) == 3:
        return [volume[None, ..., low[2] : low[2] + sides[2]]]
    places = np.linspace(0, volume.shape[-1] - 1, count).round().astype(int)
    near = [np.clip(place + np.array(spec.slice_offsets), 0, volume.shape[-1] - 1) for place in places]
    return [volume[..., indices].movedim(-1, 0).flatten(0, 1)[None].contiguous() for indices in near]


def agreement(
    network: nn.Module, model: bytes, cases: list[Case], spec: ImageSpec, labels: tuple[str, ...]
) -> dict[str, float]:
    """Return Dice between the labels of an ONNX model and of its source network: the mean over cases, by class."""
    assert isinstance(network, StudentConv), "only a StudentConv is exported"
    predictors = [
        Predictor(runner, roi=spec.roi, slice_offsets=spec.slice_offsets)
        for runner in (network, OnnxNetwork(network, model))
    ]
    scores = []
    for case in cases:
        volume = read(case.image, spec).normalised()
        reference, exported = (predictor.labels(volume).numpy() for predictor in predictors)
        scores.append(case_dice(exported, reference, labels))
    found = {name: [score[name] for score in scores if score[name] is not None] for name in labels}
    return {name: round(fmean(values), 4) for name, values in found.items() if values}
