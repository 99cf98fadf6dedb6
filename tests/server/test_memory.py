"""A server with too little memory computes in smaller steps and reports this in its answer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

pytestmark = pytest.mark.server
STUDENT = """
[[task]]
name = "small"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["tube", "cavity"]
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }
"""
# The real server. Exhausting CPU memory is not safe in a test, so the errors of a GPU are raised artificially
# for the 20 x 20 windows of the large task; the predictor treats the device "cpu:0" like a GPU.
FAULTY = """
import json, sys
from pathlib import Path
import torch
from lib.models.inference import slab
from lib.models.inference.engine import Engine
from lib.models.inference.predictor import Predictor

forward, add, init = Engine._forward, slab.add_window, Predictor.__init__

def fault(name):
    return json.loads(Path(sys.argv[4]).read_text()).get(name, 99)

def greedy(self, images, size):
    if images.shape[2:] == (20, 20) and size > fault("room"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return forward(self, images, size)

def crowded(target, *arguments):
    if fault("sums") == 0:
        Path(sys.argv[4]).write_text("{}")
        raise torch.OutOfMemoryError("CUDA out of memory")
    return add(target, *arguments)

def on_a_gpu(self, *arguments, **options):
    init(self, *arguments, **options)
    self.blend_device = torch.device("cpu", 0)

Engine._forward, slab.add_window, Predictor.__init__ = greedy, crowded, on_a_gpu
from lib.server.serve import serve
serve(sys.argv[1], sys.argv[2], port=int(sys.argv[3]))
"""


def test_each_memory_fallback_is_reported_and_changes_no_label(
    launch: Callable[..., Any], new_app: Callable, new_studies: Callable, tmp_path: Path
) -> None:
    app, studies, faults = new_app(tmp_path / "app"), new_studies(tmp_path / "studies", 1), tmp_path / "faults.json"
    large = (app / "app.toml").read_text().replace("[32, 32]", "[20, 20]")
    (app / "app.toml").write_text(large.replace("[task.train]", 'student = "small"\n\n[task.train]') + STUDENT)
    faults.write_text("{}")

    def command(app: Path, studies: Path, port: int) -> list[str]:
        return [sys.executable, "-c", FAULTY, str(app), str(studies), str(port), str(faults)]

    server = launch(command, app, studies, tmp_path)
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))

    def ask(task: str = "tubes", **faults_to_raise: int) -> tuple[np.ndarray, list[str]]:
        faults.write_text(json.dumps(faults_to_raise))
        file, params = client.infer(task, "ct_0", {"result_extension": ".nrrd"})
        return sitk.GetArrayFromImage(sitk.ReadImage(file)), params["notes"]

    expected, notes = ask()
    assert notes == [] and len(np.unique(expected)) > 1
    label, notes = ask(room=1)
    assert notes == [f"memory ran out: {size // 2} windows at once instead of {size}" for size in (4, 2)]
    assert np.array_equal(label, expected)
    label, notes = ask(sums=0)
    assert notes == ["memory ran out: windows are put together on the processor"]
    assert np.array_equal(label, expected)
    label, notes = ask(room=0)
    assert notes[-1] == "memory ran out: the student 'small' answered"
    assert np.array_equal(label, ask("small")[0])
