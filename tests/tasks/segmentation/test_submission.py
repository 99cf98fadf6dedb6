"""A submitted label: what is refused, and Slicer's numbers brought back to the app's."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.tasks.segmentation.submission import accept_label, inspect_submitted_label
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


def test_a_fitting_label_is_left_as_it_is(image: Path, task: TaskSpec, tmp_path: Path) -> None:
    path = saved(blocks(1, 2, 255), tmp_path / "label.nii.gz")
    before = path.read_bytes()
    voxels = accept_label(path, image, task, [{"name": "tube", "idx": 1}, {"name": "cavity", "idx": 2}])
    assert path.read_bytes() == before and np.array_equal(voxels, blocks(1, 2, 255))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_numbers_follow_the_names(image: Path, task: TaskSpec, tmp_path: Path, suffix: str) -> None:
    from lib.data.pipeline import save_label

    path = tmp_path / f"label{suffix}"
    save_label(blocks(1, 2, 255), SPACING, path)
    names = [{"name": "cavity", "idx": 1}, {"name": "tube", "idx": 2}, {"name": "x", "idx": 9}]
    assert np.array_equal(accept_label(path, image, task, names), blocks(2, 1, 255))
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
def test_refuses(
    image: Path, task: TaskSpec, tmp_path: Path, voxels: np.ndarray, affine: np.ndarray, info: list, code: str
) -> None:
    with pytest.raises(InputRejected) as caught:
        accept_label(saved(voxels, tmp_path / "label.nii.gz", affine), image, task, info)
    assert caught.value.findings[0].code == code


def test_garbage_is_no_label(image: Path, task: TaskSpec, tmp_path: Path) -> None:
    (tmp_path / "label.nii.gz").write_bytes(b"garbage")
    with pytest.raises(InputRejected):
        accept_label(tmp_path / "label.nii.gz", image, task)


def test_remarks_tell_what_and_where(image: Path, task: TaskSpec) -> None:
    label = tiny_ct(0)[1]
    assert inspect_submitted_label(label, image, task) == []
    label[:, :, 8:10] = 0
    (told,) = inspect_submitted_label(label, image, task)
    assert (told["code"], told["label"]) == ("BREAK", "tube") and told["voxel"][2] in (8, 9)
    assert told["ras_mm"] == [2.0 * each for each in told["voxel"]] and told["reason"] and told["remedy"]


def test_a_plane_is_looked_at_too(task: TaskSpec, tmp_path: Path) -> None:
    hu, label = tiny_ct(0)
    nib.save(nib.Nifti1Image(hu[..., 8], SPACING), tmp_path / "plane.nii.gz")
    assert inspect_submitted_label(label[..., 8], tmp_path / "plane.nii.gz", task) == []
    (told,) = inspect_submitted_label(np.zeros_like(label[..., 8]), tmp_path / "plane.nii.gz", task)
    assert told["code"] == "EMPTY" and "voxel" not in told


def test_a_check_that_fails_says_so_and_raises_nothing(
    image: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lib.tasks.segmentation.submission.inspect_label", fail)
    (told,) = inspect_submitted_label(tiny_ct(0)[1], image, task)
    assert (told["code"], told["severity"]) == ("NOT_CHECKED", "note") and "MemoryError" in told["reason"]
