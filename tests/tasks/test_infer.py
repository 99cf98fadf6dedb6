"""The infer task: what it tells viewers, what it writes, what it refuses."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.tasks.infer import RequestError, SegmentationInfer, centroids, first
from lib.tasks.spec import TaskSpec
from lib.tasks.weights import NoWeights


@pytest.fixture
def infer(app_dir: Path, task: TaskSpec, starter: Path) -> SegmentationInfer:
    return SegmentationInfer(app_dir, task)


@pytest.mark.parametrize(
    ("asked", "suffix"),
    [(".nrrd", ".nrrd"), ("nii.gz", ".nii.gz"), ([".nrrd", ".nii.gz"], ".nrrd"), (None, ".nii.gz")],
)
def test_result_file(infer: SegmentationInfer, write_ct: Callable[..., Path], asked: object, suffix: str) -> None:
    path = write_ct(0)
    file, params = infer({"image": str(path), "result_extension": asked})
    assert file is not None and file.endswith(suffix)
    source, result = sitk.ReadImage(str(path)), sitk.ReadImage(file)
    assert result.GetSize() == source.GetSize() and result.GetPixelID() == sitk.sitkUInt8
    for ours, theirs in ((result.GetOrigin(), source.GetOrigin()), (result.GetDirection(), source.GetDirection())):
        assert np.allclose(ours, theirs)
    assert params["label_names"] == {"tube": 1, "cavity": 2} and params["version"] == "starter"
    assert params["latencies"]["total"] >= params["latencies"]["infer"]
    Path(file).unlink()


def test_no_file_if_not_asked_for(infer: SegmentationInfer, write_ct: Callable[..., Path]) -> None:
    assert infer({"image": str(write_ct(0)), "result_write_to_file": False})[0] is None


@pytest.mark.parametrize("request_", [{"result_extension": ".exe"}, {"result_dtype": "float99"}])
def test_refuses_results_that_are_not_offered(infer: SegmentationInfer, write_ct: Callable, request_: dict) -> None:
    with pytest.raises(RequestError, match="is one of"):
        infer({"image": str(write_ct(0)), **request_})


def test_info(infer: SegmentationInfer, starter: Path) -> None:
    info = infer.info()
    assert (info["type"], info["labels"]) == ("segmentation", {"tube": 1, "cavity": 2})
    assert infer.is_valid() and infer.get_path() == str(starter)


def test_without_weights_it_stays_listed_and_refuses(
    infer: SegmentationInfer, starter: Path, write_ct: Callable
) -> None:
    starter.unlink()
    assert infer.is_valid() and infer.get_path() is None
    with pytest.raises(NoWeights):
        infer({"image": str(write_ct(0))})


def test_centroid_lies_in_its_class() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[1:8, 1] = label[1, 1:8] = label[7, 1:8] = 3  # a C: its centre of mass is not in it
    found = centroids(label, {"a": 1, "c": 3})
    assert list(found) == ["c"] and label[tuple(int(i) for i in found["c"])] == 3


@pytest.mark.parametrize(("value", "expected"), [([1, 2], 1), ("ab", "ab"), ([], []), (None, None)])
def test_first(value: object, expected: object) -> None:
    assert first(value) == expected


def test_slice_result_has_two_axes(infer: SegmentationInfer, write_ct: Callable, tmp_path: Path) -> None:
    hu = np.asarray(nib.load(write_ct(0)).dataobj)[:, :, 5]
    nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "slice.nii.gz")
    file, _ = infer({"image": str(tmp_path / "slice.nii.gz"), "result_extension": ".nii.gz"})
    assert nib.load(file).shape == hu.shape
    Path(str(file)).unlink()
