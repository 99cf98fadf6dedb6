"""A tiny experiment on tiny CT scans: bodies with a tube of air."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.pipeline import ImageSpec
from lib.learning.experiment.plan import Budget, DataPlan, Plan
from tests.tasks.conftest import tiny_ct

FILE = """
[experiment]
labels = [2, 4]
seeds = 2
student = "student_conv"
teacher = "sam_tiny"
synthetic = 6

[data]
layout = "folder"
folder = "cases"
classes = ["airway"]
united = true
test = 2

[image]
spacing_mm = [2, 2, 2]
window = [-1000, 400]
roi = [32, 32]
slice_offsets = [-1, 0, 1]

[budget]
teacher = 2
lesson = 4
finetune = 2
diffusion = 2
batch = 4
teacher_batch = 2
"""


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the labelled scans of six patients and return their folder."""
    folder = tmp_path_factory.mktemp("experiment") / "cases"
    (folder / "labels" / "final").mkdir(parents=True)
    for seed in range(6):
        for voxels, where in zip(tiny_ct(seed, (36, 32, 8)), (folder, folder / "labels" / "final"), strict=True):
            nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2, 2, 1])), where / f"p{seed}.nii.gz")
    return folder


@pytest.fixture
def make_plan(cases: Path) -> Callable[..., Plan]:
    def make(**changes: object) -> Plan:
        image = ImageSpec((2.0, 2.0, 2.0), (-1000.0, 400.0), (32, 32), (-1, 0, 1))
        data = DataPlan("folder", ("airway",), 2, united=True, folder=str(cases))
        budget = Budget(teacher=2, lesson=4, finetune=2, diffusion=2, batch=4, teacher_batch=2)
        return Plan(**{"data": data, "image": image, "budget": budget, "labels": (2, 4), "seeds": 2, "synthetic": 6,
                       **changes})  # type: ignore[arg-type] # fmt: skip

    return make
