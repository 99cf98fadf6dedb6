"""Tasks of kind "segmentation" write a label file on the grid of the image."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
import torch

from lib.data.cases import Case
from lib.data.findings import InputRejected
from lib.tasks.kinds import kind_of
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import TaskSpec


def test_an_image_file_is_segmented_into_a_label_file(
    app_dir: Path, task: TaskSpec, starter: Path, write_ct: Callable[..., Path], tmp_path: Path
) -> None:
    image, output, steps = write_ct(0), tmp_path / "label.nii.gz", []
    answer = kind_of(task).infer_file(app_dir, task.name, image, output, lambda *step: steps.append(step))
    assert answer["model"] == "starter" and answer["output"] == str(output) and steps
    assert nib.load(output).shape == nib.load(image).shape


def test_a_file_that_is_not_an_image_is_rejected(task: TaskSpec, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("no image")
    with pytest.raises(InputRejected):
        kind_of(task).check_image(tmp_path / "a.nii.gz", task)


@pytest.fixture
def studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Path:
    """A folder of studies with one labelled scan."""
    folder = tmp_path / "labelled"
    write_ct(0, folder=folder, label_folder=folder / "labels" / "final")
    return folder


def test_a_version_is_judged_on_whole_volumes(task: TaskSpec, studies: Path) -> None:
    image = next(iter(sorted(studies.glob("*.nii.gz"))))
    case = Case("ct_0", image, studies / "labels" / "final" / image.name, "p")
    (judged,) = kind_of(task).judge(build_network(task), [case], task, device=torch.device("cpu"))
    assert judged.case == "ct_0" and set(judged.scores) == set(task.labels) and judged.cl_dice is None
    tubes = dataclasses.replace(task, tubular=("tube",))
    (judged,) = kind_of(tubes).judge(build_network(tubes), [case], tubes, device=torch.device("cpu"))
    assert judged.cl_dice is not None
