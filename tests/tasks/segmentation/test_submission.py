"""Submitted labels: invalid labels are rejected, and Slicer's numbers are mapped to the task's values."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.data.formats import load
from lib.data.pipeline import load_label
from lib.evaluation.faults.expected import Expected
from lib.tasks.segmentation.submission import check_submitted_label, find_label_faults
from lib.tasks.spec import TaskSpec
from tests.cases import write_cases
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


AIRWAY = {"nasal_cavity": 1, "sinuses": 2, "pharynx": 3, "larynx": 4, "trachea": 5}
RIGHT = {
    "good.nii.gz",
    "whole_float64.nii.gz",
    "one_more_axis.nii.gz",
    "canonical_axes.nii.gz",
    "rounding.nii.gz",
    "slicer.seg.nrrd",
    "slicer_cropped.seg.nrrd",
}
REFUSED = {
    "interpolated_float.nii.gz": ("LABEL_VALUES", "such as 1.25 at voxel (42, 37, 0)"),
    "ignore_as_minus_one.nii.gz": ("LABEL_VALUES", "value -1 (10,560 voxels)"),
    "other_values.nii.gz": ("LABEL_VALUES", "300 (2,030 voxels), 500 (3,770 voxels)"),
    "fewer_slices.nii.gz": ("LABEL_GRID", "size in voxels 96 x 88 x 34, the image has 96 x 88 x 40"),
    "identity_affine.nii.gz": ("LABEL_GRID", "axes RAS, the image has LPS"),
    "two_layers.seg.nrrd": ("WRONG_DIMENSION", "2 layers and no names of segments"),
}


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels as people submit them, and their image ``both_same.nii``."""
    folder = write_cases("labels_submitted", tmp_path_factory.mktemp("submitted"))
    return write_cases("nifti_headers", folder, "both_same")


@pytest.fixture
def airway(task: TaskSpec) -> TaskSpec:
    return dataclasses.replace(task, labels=tuple(AIRWAY))


def test_every_case_is_covered(submitted: Path) -> None:
    names = {path.name for path in submitted.iterdir()} - {"truth.npy", "both_same.nii", "empty.nii.gz"}
    assert names == RIGHT | REFUSED.keys()


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_a_label_is_right_to_the_voxel(submitted: Path, airway: TaskSpec, tmp_path: Path, name: str) -> None:
    path, truth = Path(shutil.copy(submitted / name, tmp_path)), np.load(submitted / "truth.npy")
    assert np.array_equal(check_submitted_label(path, submitted / "both_same.nii", airway), truth)
    image = load(submitted / "both_same.nii")
    assert np.array_equal(load_label(path, truth.shape, image.affine), truth), "the file is right for later readers too"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_wrong_label_is_refused_with_its_reason(submitted: Path, airway: TaskSpec, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(submitted / name, tmp_path))
    with pytest.raises(InputRejected) as caught:
        check_submitted_label(path, submitted / "both_same.nii", airway)
    (finding,), (code, text) = caught.value.findings, REFUSED[name]
    assert finding.code == code and text in finding.reason and finding.remedy
    if code == "LABEL_VALUES" and name != "interpolated_float.nii.gz":
        assert "5 trachea, 255 ignore" in finding.remedy, "the values that the app knows"


def test_an_empty_label_is_accepted_as_empty(submitted: Path, airway: TaskSpec, tmp_path: Path) -> None:
    path = Path(shutil.copy(submitted / "empty.nii.gz", tmp_path))
    assert not check_submitted_label(path, submitted / "both_same.nii", airway).any()


def test_two_layers_with_names_in_the_header_are_merged(submitted: Path, airway: TaskSpec, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(submitted / "two_layers.seg.nrrd"))
    for layer, name in enumerate(("trachea", "pharynx")):
        for key, text in {"Name": name, "Layer": layer, "LabelValue": 1}.items():
            image.SetMetaData(f"Segment{layer}_{key}", str(text))
    sitk.WriteImage(image, str(tmp_path / "label.nrrd"))
    found = check_submitted_label(tmp_path / "label.nrrd", submitted / "both_same.nii", airway)
    truth = np.load(submitted / "truth.npy")
    assert np.array_equal(found, truth)
    assert np.array_equal(
        load_label(tmp_path / "label.nrrd", truth.shape, load(submitted / "both_same.nii").affine), truth
    )


def test_a_label_of_an_image_that_is_cut_off_is_refused(image: Path, task: TaskSpec, tmp_path: Path) -> None:
    """Accepted, it would stop every training at the image."""
    label = saved(blocks(1), tmp_path / "label.nii.gz")
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(InputRejected, match="TRUNCATED"):
        check_submitted_label(label, cut, task)


def test_only_covered_labels_are_inspected(image: Path, task: TaskSpec) -> None:
    limits = tuple(Expected((name,), components=1) for name in task.labels)
    strict = dataclasses.replace(task, topology=limits)
    voxels = np.zeros((36, 32, 20), np.uint8)
    voxels[4:9, 4:9, 4:9], voxels[20:25, 4:9, 4:9] = 1, 1
    every = [fault["reason"] for fault in find_label_faults(voxels, image, strict)]
    part = [fault["reason"] for fault in find_label_faults(voxels, image, strict, ("cavity",))]
    assert any("tube" in reason for reason in every) and not any("tube" in reason for reason in part)
