"""Submitted labels: invalid labels are rejected, and Slicer's numbers are mapped to the task's values."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.tasks.segmentation.submission import check_submitted_label, find_label_faults
from lib.tasks.spec import TaskSpec
from tests.tasks.conftest import tiny_ct

SPACING = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def image(write_ct: Callable[..., Path]) -> Path:
    return write_ct(0)


def saved(voxels: np.ndarray, path: Path, affine: np.ndarray = SPACING) -> Path:
    nib.save(nib.Nifti1Image(voxels.astype(np.uint8), affine), path)
    return path


def blocks(*values: int) -> np.ndarray:
    voxels = np.zeros((36, 32, 20), np.uint8)
    for index, value in enumerate(values):
        voxels[index] = value
    return voxels


def test_a_valid_label_is_not_rewritten(image: Path, task: TaskSpec, tmp_path: Path) -> None:
    path = saved(blocks(1, 2, 255), tmp_path / "label.nii.gz")
    before = path.read_bytes()
    voxels = check_submitted_label(path, image, task, [{"name": "tube", "idx": 1}, {"name": "cavity", "idx": 2}])
    assert path.read_bytes() == before and np.array_equal(voxels, blocks(1, 2, 255))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_values_are_mapped_by_the_segment_names(image: Path, task: TaskSpec, tmp_path: Path, suffix: str) -> None:
    from lib.data.pipeline import write_label

    path = tmp_path / f"label{suffix}"
    write_label(blocks(1, 2, 255), SPACING, path)
    names = [{"name": "cavity", "idx": 1}, {"name": "tube", "idx": 2}, {"name": "x", "idx": 9}]
    assert np.array_equal(check_submitted_label(path, image, task, names), blocks(2, 1, 255))
    from lib.data.formats import load

    assert np.array_equal(load(path).voxels, blocks(2, 1, 255))


@pytest.mark.parametrize(
    ("voxels", "affine", "info", "code"),
    [
        (blocks(7), SPACING, [], "LABEL_VALUES"),
        (blocks(1), SPACING, [{"name": "liver", "idx": 1}], "LABEL_NAMES"),
        (blocks(1)[1:], SPACING, [], "LABEL_GRID"),
        (blocks(1), np.diag([-2.0, 2, 2, 1]), [], "LABEL_GRID"),
        (np.zeros((36, 32, 20, 3)), SPACING, [], "WRONG_DIMENSION"),
    ],
)
def test_invalid_labels_are_rejected(
    image: Path, task: TaskSpec, tmp_path: Path, voxels: np.ndarray, affine: np.ndarray, info: list, code: str
) -> None:
    with pytest.raises(InputRejected) as caught:
        check_submitted_label(saved(voxels, tmp_path / "label.nii.gz", affine), image, task, info)
    assert caught.value.findings[0].code == code


def test_an_unreadable_label_is_rejected(image: Path, task: TaskSpec, tmp_path: Path) -> None:
    (tmp_path / "label.nii.gz").write_bytes(b"garbage")
    with pytest.raises(InputRejected):
        check_submitted_label(tmp_path / "label.nii.gz", image, task)


def test_a_fault_has_code_label_and_position(image: Path, task: TaskSpec) -> None:
    label = tiny_ct(0)[1]
    assert find_label_faults(label, image, task) == []
    label[:, :, 8:10] = 0
    (fault,) = find_label_faults(label, image, task)
    assert (fault["code"], fault["label"]) == ("BREAK", "tube") and fault["voxel"][2] in (8, 9)
    assert fault["ras_mm"] == [2.0 * index for index in fault["voxel"]] and fault["reason"] and fault["remedy"]


def test_a_2d_label_is_checked_too(task: TaskSpec, tmp_path: Path) -> None:
    hu, label = tiny_ct(0)
    nib.save(nib.Nifti1Image(hu[..., 8], SPACING), tmp_path / "plane.nii.gz")
    assert find_label_faults(label[..., 8], tmp_path / "plane.nii.gz", task) == []
    (fault,) = find_label_faults(np.zeros_like(label[..., 8]), tmp_path / "plane.nii.gz", task)
    assert fault["code"] == "EMPTY" and "voxel" not in fault


def test_a_failing_check_is_reported_and_does_not_raise(
    image: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lib.tasks.segmentation.submission.inspect_label", fail)
    (fault,) = find_label_faults(tiny_ct(0)[1], image, task)
    assert (fault["code"], fault["severity"]) == ("NOT_CHECKED", "note") and "MemoryError" in fault["reason"]
