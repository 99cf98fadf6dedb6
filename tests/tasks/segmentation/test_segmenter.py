"""The segmenter labels an image on its own grid with the current champion version."""

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.findings import InputRejected
from lib.records.versions import set_champion, write_version
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.weights import NoWeights, build_network, versions_dir
from lib.tasks.spec import SpecError, TaskSpec

pytestmark = pytest.mark.usefixtures("starter")


@pytest.fixture
def segmenter(app_dir: Path, starter: Path) -> Segmenter:
    return Segmenter.from_task(app_dir, "tubes", device="cpu")


def constant(task: TaskSpec, value: int) -> dict[str, torch.Tensor]:
    """Return weights that label every voxel as `value`; only the bias of the last layer is not 0."""
    state = {name: torch.zeros_like(tensor) for name, tensor in build_network(task).state_dict().items()}
    bias = [name for name, tensor in state.items() if name.endswith("bias") and tensor.shape == (3,)]
    assert bias, "the last layer of the network has a bias"
    for name in bias:
        state[name] = torch.nn.functional.one_hot(torch.tensor(value), 3).float()
    return state


def serve(app_dir: Path, task: TaskSpec, value: int) -> str:
    root = versions_dir(app_dir, task)
    name = write_version(root, constant(task, value), {}).name
    set_champion(root, name)
    return name


def reoriented(path: Path, codes: str) -> Path:
    image = nib.load(path)
    to = nib.orientations.axcodes2ornt(codes)
    target = path.with_name(f"{codes}.nii.gz")
    nib.save(image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), to)), target)
    return target


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "PIR"])
def test_storage_order_changes_nothing(segmenter: Segmenter, write_ct: Callable[..., Path], codes: str) -> None:
    path = write_ct(0)
    expected = segmenter.segment(path)
    assert len(np.unique(expected.label)) > 1, "the reference must have more than one value"
    other = reoriented(path, codes)
    result = segmenter.segment(other)
    source = nib.load(other)
    assert result.label.shape == source.shape and np.allclose(result.affine, source.affine)
    back = nib.as_closest_canonical(nib.Nifti1Image(result.label, result.affine))
    assert np.array_equal(np.asarray(back.dataobj), expected.label)


@pytest.mark.parametrize("shape", [(36, 32), (36, 32, 1)])
def test_a_2d_image_gives_a_2d_label(segmenter: Segmenter, tmp_path: Path, write_ct: Callable, shape: tuple) -> None:
    hu = np.asarray(nib.load(write_ct(0)).dataobj)[:, :, 5].reshape(shape)
    nib.save(nib.Nifti1Image(hu, np.diag([2.0, 2, 2, 1])), tmp_path / "slice.nii.gz")
    assert segmenter.segment(tmp_path / "slice.nii.gz").label.shape == shape


def test_the_result_has_the_time_per_stage_and_the_label_names(
    segmenter: Segmenter, write_ct: Callable[..., Path]
) -> None:
    steps: list[tuple[int, int]] = []
    result = segmenter.segment(write_ct(0), lambda done, total: steps.append((done, total)))
    assert list(result.seconds) == ["check", "read", "infer", "restore"] and min(result.seconds.values()) >= 0
    assert result.labels == {"tube": 1, "cavity": 2} and result.version == "starter"
    assert steps[-1] == (20, 20)


def test_a_new_champion_answers_the_next_image(
    segmenter: Segmenter, app_dir: Path, task: TaskSpec, write_ct: Callable[..., Path]
) -> None:
    path = write_ct(0)
    assert segmenter.segment(path).version == "starter"
    for value in (1, 2):
        name = serve(app_dir, task, value)
        result = segmenter.segment(path)
        assert result.version == name and (result.label == value).all()


def test_every_thread_gets_results_of_one_complete_version(
    segmenter: Segmenter, app_dir: Path, task: TaskSpec, write_ct: Callable[..., Path]
) -> None:
    path = write_ct(0)
    values = {serve(app_dir, task, value): value for value in (1, 2)}
    wrong: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            result = segmenter.segment(path)
            if not (result.label == values[result.version]).all():
                wrong.append(result.version)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for name in list(values) * 8:
        set_champion(versions_dir(app_dir, task), name)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_invalid_image_is_rejected_by_the_input_gate(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_text("not an image")
    with pytest.raises(InputRejected) as caught:
        segmenter.segment(tmp_path / "text.nii.gz")
    assert caught.value.findings[0].remedy


def test_without_weights_no_image_is_segmented(app_dir: Path, starter: Path, write_ct: Callable[..., Path]) -> None:
    starter.unlink()
    with pytest.raises(NoWeights):
        Segmenter.from_task(app_dir, "tubes").segment(write_ct(0))


class Starved(torch.nn.Module):
    """A network that always runs out of memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def starve(segmenter: Segmenter) -> None:
    _, predictor = segmenter._follower.current()
    predictor.engine._run = Starved()


def test_out_of_memory_the_student_segments_and_a_note_is_added(
    segmenter: Segmenter, app_dir: Path, write_ct: Callable[..., Path]
) -> None:
    path, student = write_ct(0), Segmenter.from_task(app_dir, "tubes", device="cpu")
    expected = segmenter.segment(path)
    assert expected.notes == ()
    starve(segmenter)
    with pytest.raises(torch.OutOfMemoryError):
        segmenter.segment(path)
    segmenter.student = student
    result = segmenter.segment(path)
    assert np.array_equal(result.label, expected.label)
    assert result.notes == ("memory ran out: the student 'tubes' answered",)


def test_release_frees_the_networks_of_task_and_student_until_the_next_request(
    segmenter: Segmenter, app_dir: Path, write_ct: Callable[..., Path]
) -> None:
    path, segmenter.student = write_ct(0), Segmenter.from_task(app_dir, "tubes", device="cpu")
    expected = segmenter.segment(path), segmenter.student.segment(path)
    held = [weakref.ref(owner._follower.current()[1]) for owner in (segmenter, segmenter.student)]
    assert not segmenter.release(60.0) and all(reference() for reference in held), "the last request was a moment ago"
    assert segmenter.release() and not segmenter.release()
    gc.collect()
    assert [reference() for reference in held] == [None, None]
    assert np.array_equal(segmenter.segment(path).label, expected[0].label)


def test_a_click_task_cannot_segment_without_clicks(app_dir: Path, task: TaskSpec) -> None:
    with pytest.raises(SpecError, match="to segment an image, name a task of kind"):
        Segmenter.from_task(app_dir, replace(task, kind="click"))
