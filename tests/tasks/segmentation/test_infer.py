"""The infer task: info, result files, refusals, and rollback of a failing version."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.jobs.gate import PUBLISH, Decision
from lib.jobs.publish import apply_decision, register
from lib.records.card import hash_labels
from lib.records.ledger import Ledger
from lib.records.versions import find_version, set_champion, write_version
from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.serving.result import RequestError
from lib.tasks.serving.weights import NoWeights, SchemaMismatch, build_network, open_task_versions, served_weights
from lib.tasks.spec import TaskSpec


@pytest.fixture
def infer(app_dir: Path, task: TaskSpec, starter: Path) -> SegmentationInfer:
    return SegmentationInfer(app_dir, task)


@pytest.mark.parametrize(
    ("extension", "suffix"),
    [(".nrrd", ".nrrd"), ("nii.gz", ".nii.gz"), ([".nrrd", ".nii.gz"], ".nrrd"), (None, ".nii.gz")],
)
def test_the_result_file_has_the_requested_format_and_the_source_grid(
    infer: SegmentationInfer, write_ct: Callable[..., Path], extension: object, suffix: str
) -> None:
    path = write_ct(0)
    file, params = infer({"image": str(path), "result_extension": extension})
    assert file is not None and file.endswith(suffix)
    source, result = sitk.ReadImage(str(path)), sitk.ReadImage(file)
    assert result.GetSize() == source.GetSize() and result.GetPixelID() == sitk.sitkUInt8
    for found, expected in ((result.GetOrigin(), source.GetOrigin()), (result.GetDirection(), source.GetDirection())):
        assert np.allclose(found, expected)
    assert params["label_names"] == {"tube": 1, "cavity": 2} and params["version"] == "starter"
    assert params["latencies"]["total"] >= params["latencies"]["infer"]
    Path(file).unlink()


def test_no_file_is_written_if_not_requested(infer: SegmentationInfer, write_ct: Callable[..., Path]) -> None:
    assert infer({"image": str(write_ct(0)), "result_write_to_file": False})[0] is None


@pytest.mark.parametrize("request_", [{"result_extension": ".exe"}, {"result_dtype": "float99"}])
def test_unsupported_result_options_are_refused(infer: SegmentationInfer, write_ct: Callable, request_: dict) -> None:
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


def test_the_result_of_a_2d_image_has_two_axes(infer: SegmentationInfer, write_ct: Callable, tmp_path: Path) -> None:
    hu = np.asarray(nib.load(write_ct(0)).dataobj)[:, :, 5]
    nib.save(nib.Nifti1Image(hu, np.eye(4)), tmp_path / "slice.nii.gz")
    file, _ = infer({"image": str(tmp_path / "slice.nii.gz"), "result_extension": ".nii.gz"})
    assert nib.load(file).shape == hu.shape
    Path(str(file)).unlink()


def publish_then_spoil(app_dir: Path, task: TaskSpec, *, poison: float) -> tuple[str, str]:
    """Publish v1, then v2 with its weights multiplied by `poison`; return both names."""
    place = open_task_versions(app_dir, task)
    names = []
    for factor in (1.0, poison):
        state = {k: v * factor if v.is_floating_point() else v for k, v in build_network(task).state_dict().items()}
        names.append(write_version(place.root, state, {}).name)
        register(place, find_version(place.root, names[-1]))
        apply_decision(place, names[-1], Decision(PUBLISH, ("for the test",)), compared_with=place.served)
    return names[0], names[1]


@pytest.mark.parametrize("poison", [float("nan"), 1e30])
def test_a_failing_version_is_rolled_back_automatically(
    infer: SegmentationInfer, app_dir: Path, task: TaskSpec, write_ct: Callable[..., Path], poison: float
) -> None:
    """NaN weights are rejected at load, and huge weights give outputs that are not finite; neither returns a result."""
    good, bad = publish_then_spoil(app_dir, task, poison=poison)
    for seed in range(3):
        assert served_weights(app_dir, task).name == bad
        with pytest.raises((RuntimeError, IndexError)):
            infer({"image": str(write_ct(seed))})
    _, params = infer({"image": str(write_ct(0)), "result_write_to_file": False})
    assert params["version"] == good
    last = Ledger.of(app_dir).rows("decision")[-1].body
    assert (last["verdict"], last["version"], last["champion"], last["by"]) == ("rollback", bad, good, "server")
    assert "3 images in a row" in last["reasons"][0]


def test_a_version_with_a_damaged_file_is_rolled_back(
    infer: SegmentationInfer, app_dir: Path, task: TaskSpec, write_ct: Callable[..., Path]
) -> None:
    good, bad = publish_then_spoil(app_dir, task, poison=1.0)
    path = find_version(open_task_versions(app_dir, task).root, bad).weights_path
    path.write_bytes(path.read_bytes()[:100])
    for seed in range(3):
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            infer({"image": str(write_ct(seed))})
    assert infer({"image": str(write_ct(0)), "result_write_to_file": False})[1]["version"] == good


def test_images_that_the_input_gate_rejects_do_not_count_against_the_version(
    infer: SegmentationInfer, app_dir: Path, task: TaskSpec, tmp_path: Path
) -> None:
    _, served = publish_then_spoil(app_dir, task, poison=1.0)
    for name in "abcd":
        (tmp_path / f"{name}.nii.gz").write_text("no image")
        with pytest.raises(InputRejected):
            infer({"image": str(tmp_path / f"{name}.nii.gz")})
    assert served_weights(app_dir, task).name == served


def test_a_version_with_other_labels_is_rejected_before_loading(
    infer: SegmentationInfer, app_dir: Path, task: TaskSpec, write_ct: Callable[..., Path]
) -> None:
    place = open_task_versions(app_dir, task)
    card = {"labels": ["cavity", "tube"], "label_schema": hash_labels(["cavity", "tube"])}
    set_champion(place.root, write_version(place.root, build_network(task).state_dict(), card, name="v1").name)
    with pytest.raises(SchemaMismatch, match=r"v1 .* gives cavity, tube, and app.toml declares tube, cavity"):
        infer({"image": str(write_ct(0))})
    assert infer.get_path() is None and infer.is_valid()
