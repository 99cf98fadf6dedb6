"""Proposals: the origin of a saved label, its author, the time of work and the volume of the edits."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.tasks.store import proposals as module
from lib.tasks.store.proposals import Proposals


@pytest.fixture
def write_label(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, changed: int = 0, shape: tuple[int, int, int] = (4, 4, 4)) -> Path:
        voxels = np.zeros(shape, np.uint8)
        voxels.ravel()[:changed] = 1
        nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.5, 1.0])), tmp_path / f"{name}.nii.gz")
        return tmp_path / f"{name}.nii.gz"

    return write


def answer(file: Path) -> dict:
    return {"file": str(file), "params": {"version": "v7"}}


def test_the_origin_of_a_label_names_its_proposal_and_its_edits(
    write_label: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 130.0, 190.0, 250.0])
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    proposals = Proposals()
    request = {"model": "tubes", "foreground": [[1, 2, 3]], "background": [], "device": "cpu"}
    proposals.remember("ct", {"model": "tubes"}, answer(write_label("first")))
    proposals.remember("ct", request, answer(write_label("second", 10)))
    origin = proposals.origin("ct", write_label("edited", 13), {"user": "Anna"})
    assert (origin.task, origin.version, origin.who, origin.source) == ("tubes", "v7", "Anna", "submitted")
    assert origin.prompts == {"foreground": [[1, 2, 3]]}
    assert origin.seconds == 90, "time since the first proposal"
    assert proposals.origin("ct", write_label("edited", 13), {}).seconds == 60, "time since the last submission"
    assert origin.edit_ml == pytest.approx(3 * 0.01), "three voxels of 10 cubic mm"


def test_pauses_count_at_most_the_idle_time(write_label: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 50.0, 7250.0, 7280.0, 90_000.0])
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    proposals = Proposals()
    proposals.start_work("ct")
    for name in ("first", "second"):
        proposals.remember("ct", {"model": "tubes"}, answer(write_label(name)))
    assert proposals.origin("ct", write_label("edited"), {}).seconds == 50 + module.IDLE_SECONDS + 30
    assert proposals.origin("ct", write_label("edited"), {}).seconds == module.IDLE_SECONDS


def test_work_without_a_proposal_is_timed_from_the_start(
    write_label: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 80.0])
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    proposals = Proposals(lambda image: image == "ct")
    proposals.start_work("ct")
    origin = proposals.origin("ct", write_label("drawn"), {})
    assert (origin.seconds, origin.blank, origin.task) == (80, True, "")


def test_seconds_and_findings_of_the_client_are_used(write_label: Callable[..., Path]) -> None:
    proposals = Proposals()
    proposals.remember("ct", {"model": "tubes"}, answer(write_label("a")))
    origin = proposals.origin("ct", write_label("b"), {"seconds": 12, "findings": ["two pieces"]})
    assert origin.seconds == 12 and origin.findings == ["two pieces"]


@pytest.mark.parametrize("info", [{}, {"seconds": "long", "findings": "many"}, {"seconds": float("nan")}])
def test_without_a_proposal_the_origin_is_empty(write_label: Callable[..., Path], info: dict) -> None:
    origin = Proposals().origin("ct", write_label("b"), info)
    assert (origin.task, origin.version, origin.seconds, origin.edit_ml, origin.findings) == ("", "", None, None, [])


def test_the_origin_of_a_prediction_is_its_model(write_label: Callable[..., Path]) -> None:
    origin = Proposals().origin("ct", write_label("b"), {"model": "tubes", "params": {"version": "v7"}})
    assert (origin.source, origin.task, origin.version) == ("predicted", "tubes", "v7")


def test_a_label_that_a_person_submitted_is_submitted_whatever_the_client_sent(
    write_label: Callable[..., Path],
) -> None:
    sent = {"model": "tubes", "params": {"version": "v7"}, "user": "Anna", "source": "submitted"}
    origin = Proposals().origin("ct", write_label("b"), sent)
    assert (origin.source, origin.who, origin.version) == ("submitted", "Anna", "")


def test_labels_on_different_grids_are_not_compared(write_label: Callable[..., Path]) -> None:
    proposals = Proposals()
    proposals.remember("ct", {"model": "tubes"}, answer(write_label("a")))
    assert proposals.origin("ct", write_label("b", shape=(4, 4, 5)), {}).edit_ml is None


def test_the_oldest_proposal_is_dropped(write_label: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_label("a")
    monkeypatch.setattr(module, "MAX_BYTES", int(2.5 * file.stat().st_size))
    proposals = Proposals()
    for image in ("ct_1", "ct_2", "ct_1", "ct_3"):
        proposals.remember(image, {"model": "tubes"}, answer(file))
    known = [image for image in ("ct_1", "ct_2", "ct_3") if proposals.origin(image, file, {}).version]
    assert known == ["ct_1", "ct_3"]


def test_clicks_for_labels_are_kept_as_prompts(write_label: Callable[..., Path]) -> None:
    proposals = Proposals()
    request = {"model": "sam_labels", "tube": [[1, 2, 3]], "cavity": [], "label": "tube", "result_extension": [".nrrd"]}
    proposals.remember("ct", request, answer(write_label("a")))
    assert proposals.origin("ct", write_label("b"), {}).prompts == {"tube": [[1, 2, 3]], "label": "tube"}
