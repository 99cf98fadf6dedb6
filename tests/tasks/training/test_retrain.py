"""Training on labels: a version with its card and ledger rows, served only if the gate finds it no worse."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.jobs.failure_watch import BrokenOutput
from lib.records.card import hash_file
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import champion, find_version, list_versions
from lib.tasks.segmentation import learn as module
from lib.tasks.serving.models import list_models_trained_on, list_training_labels, promote, rollback
from lib.tasks.serving.weights import open_task_versions, versions_dir
from lib.tasks.spec import SpecError, TaskSpec
from lib.tasks.training.retrain import retrain
from lib.tasks.training.training_stats import read_stats

# Long enough to learn both classes: almost any version is better than a champion that lacks one.
LEARNS = {"max_epochs": 16, "patches_per_epoch": 128, "batch_size": 8, "ema_decay": 0.0, "val_interval": 16}


@pytest.fixture
def make_studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Callable[[int], Path]:
    def make(count: int) -> Path:
        folder = tmp_path / "studies"
        for seed in range(count):
            write_ct(seed, folder=folder, label_folder=folder / "labels" / "final")
        write_ct(99, folder=folder)
        return folder

    return make


@pytest.fixture
def studies(make_studies: Callable[[int], Path]) -> Path:
    return make_studies(3)


def parts(app_dir: Path) -> dict[str, str]:
    return {row.body["case"]: row.body["part"] for row in Ledger.of(app_dir).rows("split")}


def decisions(app_dir: Path) -> list[dict[str, Any]]:
    return [row.body for row in Ledger.of(app_dir).rows("decision")]


def change_trained_weights(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the weights at the end of each training."""
    real = module.train

    def train(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        state = {k: change(v) if v.is_floating_point() else v for k, v in result.state_dict.items()}
        return dataclasses.replace(result, state_dict=state)

    monkeypatch.setattr(module, "train", train)


def test_a_training_writes_a_version_and_returns_its_outcome(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path
) -> None:
    outcome = retrain(app_dir, "tubes", studies, {"learning_rate": "1e-3"}, device="cpu")
    root = versions_dir(app_dir, task)
    (version,) = list_versions(root)
    assert outcome.version == version.name and outcome.parent == "starter"
    assert (outcome.train_cases, outcome.val_cases, outcome.held_out_cases) == (1, 1, 1)
    assert outcome.verdict == "hold" and "1 held-out patients are too few" in outcome.reason
    assert champion(root) is None and open_task_versions(app_dir, task).waiting == version.name
    card = version.card
    assert card["parent"] == "starter" and card["recipe"]["learning_rate"] == 1e-3 and len(card["data"]) == 1
    assert not set(card["data"]) & set(card["notes"]["held_out"]) and card["notes"]["gate"]["verdict"] == "hold"
    assert [set(metric) for metric in card["metrics"]] == [{"case", "dice", "cl_dice"}]
    stats = read_stats(root)
    assert stats["status"] == "done" and stats["total_epochs"] == 1 and stats["version"] == version.name
    json.dumps(outcome.as_dict(), allow_nan=False)


def test_the_ledger_links_labels_and_versions_in_both_directions(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path
) -> None:
    outcome = retrain(app_dir, task, studies, device="cpu")
    (learned,) = list_training_labels(open_task_versions(app_dir, task), outcome.version)
    label = studies / "labels" / "final" / f"{learned['case']}.nii.gz"
    assert learned["label"] == hash_file(label) and learned["image"] == hash_file(studies / label.name)
    assert Ledger.of(app_dir).rows()[learned["row"] - 1].subject == learned["case"] and learned["source"] == "found"
    assert [found["version"] for found in list_models_trained_on(app_dir, learned["label"][:12])] == [outcome.version]
    (held,) = (case for case, part in parts(app_dir).items() if part == "held_out")
    assert list_models_trained_on(app_dir, hash_file(studies / "labels" / "final" / f"{held}.nii.gz")) == []
    states = [row.body["state"] for row in Ledger.of(app_dir).rows("job", "tubes")]
    assert states == ["started", "done"] and verify(app_dir, studies).as_dict()["ok"]


def test_a_label_edited_during_training_does_not_change_it(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.train

    def train(recipe: Any, network: Any, cases: list[Case], *args: Any, **options: Any) -> Any:
        name = f"{cases[0].id}.nii.gz"
        before = cases[0].label.read_bytes()  # type: ignore[union-attr]
        (studies / "labels" / "final" / name).write_bytes(b"being written")
        assert cases[0].label and cases[0].label.read_bytes() == before
        return real(recipe, network, cases, *args, **options)

    monkeypatch.setattr(module, "train", train)
    assert retrain(app_dir, task, studies, device="cpu").version


def test_a_held_out_patient_stays_held_out(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(app_dir, task, studies, device="cpu")
    before, trained = parts(app_dir), []
    real = module.train

    def train(recipe: Any, network: Any, cases: list[Case], *args: Any, **options: Any) -> Any:
        trained.extend(case.id for case in cases)
        return real(recipe, network, cases, *args, **options)

    monkeypatch.setattr(module, "train", train)
    (held,) = (case for case, part in before.items() if part == "held_out")
    for name, source in (("ct_99", "ct_0"), (f"{held}_scan2", "ct_99"), ("a copy", held)):
        (studies / "labels" / "final" / f"{name}.nii.gz").write_bytes(
            (studies / "labels/final/ct_0.nii.gz").read_bytes()
        )
        if name != "ct_99":
            voxels = nib.load(studies / f"{source}.nii.gz")
            (studies / f"{name}.nii.gz").write_bytes((studies / f"{source}.nii.gz").read_bytes())
            if source == "ct_99":  # another image of the held-out patient, not a copy
                nib.save(nib.Nifti1Image(np.asarray(voxels.dataobj) + 1, voxels.affine), studies / f"{name}.nii.gz")
    retrain(app_dir, task, studies, device="cpu")
    after = parts(app_dir)
    assert after.items() >= before.items() and set(after) == {*before, "ct_99", f"{held}_scan2", "a copy"}
    assert after[f"{held}_scan2"] == after["a copy"] == "held_out"
    assert trained and not {held, f"{held}_scan2", "a copy"} & set(trained)


def shuffle_voxels(label: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(label.ravel()).reshape(label.shape)


def swap_classes(label: np.ndarray) -> np.ndarray:
    return np.array([0, 2, 1], np.uint8)[label]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(swap_classes, "Dice may fall", id="swapped"),
        pytest.param(shuffle_voxels, "the same value in every voxel", id="shuffled", marks=pytest.mark.slow),
    ],
)
def test_a_better_version_is_published_a_worse_one_rejected_and_rollback_restores_the_file(
    app_dir: Path,
    task: TaskSpec,
    starter: Path,
    make_studies: Callable[[int], Path],
    spoil: Callable[[np.ndarray], np.ndarray],
    message: str,
) -> None:
    # Two held-out patients give no interval, and an admin would decide.
    declared = app_dir / "app.toml"
    declared.write_text(declared.read_text().replace("held_out_patients = 2", "held_out_patients = 5"))
    studies = make_studies(15)
    good = retrain(app_dir, task, studies, LEARNS, device="cpu")
    assert (good.verdict, good.published) == ("publish", True), good.reason
    assert good.score > good.parent_score and good.held_out_cases == 5
    root = versions_dir(app_dir, task)
    served = champion(root)
    assert served is not None and served.name == good.version
    before = served.weights_path.read_bytes()

    for case, part in parts(app_dir).items():
        if part == "train":
            path = studies / "labels" / "final" / f"{case}.nii.gz"
            label = nib.load(path)
            nib.save(nib.Nifti1Image(spoil(np.asarray(label.dataobj)), label.affine), path)
    bad = retrain(app_dir, task, studies, LEARNS, device="cpu")
    assert (bad.verdict, bad.published) == ("reject", False) and message in bad.reason, bad.reason
    still = champion(root)
    assert still == served and still.weights_path.read_bytes() == before
    last = decisions(app_dir)[-1]
    assert last["version"] == bad.version and last["reasons"] == bad.reason.split("; ")
    assert last["champion"] == good.version and last["figures"]["differences"]["Dice"]["high"] < 0

    promote(app_dir, "tubes", bad.version)
    now = champion(root)
    assert now is not None and now.name == bad.version
    rollback(app_dir, "tubes")
    back = champion(root)
    assert back == served and back.weights_path.read_bytes() == before
    assert not verify(app_dir).faults


@pytest.mark.parametrize("count", [3, 8])
def test_a_version_with_nan_weights_is_never_served(
    app_dir: Path,
    task: TaskSpec,
    starter: Path,
    make_studies: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    change_trained_weights(monkeypatch, lambda weight: weight * math.nan)
    outcome = retrain(app_dir, task, make_studies(count), device="cpu")
    assert outcome.verdict == "reject" and "no numbers" in outcome.reason
    root = versions_dir(app_dir, task)
    assert champion(root) is None and find_version(root, outcome.version)
    with pytest.raises(BrokenOutput, match="cannot be served"):
        promote(app_dir, "tubes", outcome.version)
    assert champion(root) is None


def test_a_version_with_constant_output_is_rejected(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_trained_weights(monkeypatch, torch.zeros_like)
    outcome = retrain(app_dir, task, studies, device="cpu")
    assert outcome.verdict == "reject" and "the same value in every voxel" in outcome.reason


def test_a_failed_training_is_recorded_with_its_reason(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(RuntimeError, match="the device is gone"):
        retrain(app_dir, task, studies, device="cpu")
    last = Ledger.of(app_dir).rows("job")[-1].body
    assert (last["state"], last["reason"]) == ("failed", "RuntimeError: the device is gone")


def test_without_weights_training_starts_from_scratch(app_dir: Path, task: TaskSpec, studies: Path) -> None:
    outcome = retrain(app_dir, task, studies, device="cpu")
    assert outcome.parent == "" and outcome.verdict == "hold" and math.isnan(outcome.parent_score)


def test_changed_labels_in_app_toml_start_from_scratch(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path
) -> None:
    first = retrain(app_dir, task, studies, device="cpu")
    promote(app_dir, "tubes", first.version)
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text.replace('["tube", "cavity"]', '["cavity", "tube"]'))
    assert retrain(app_dir, "tubes", studies, device="cpu").parent == ""


def test_labels_of_one_patient_are_too_few(app_dir: Path, task: TaskSpec, studies: Path) -> None:
    label = studies / "labels" / "final" / "ct_0.nii.gz"
    cases = [Case(name, studies / "ct_0.nii.gz", label, "one patient") for name in ("a", "b")]
    with pytest.raises(ValueError, match="fewer than 2 patients"):
        retrain(app_dir, task, cases)
    assert parts(app_dir) == {}


@pytest.mark.parametrize(("options", "message"), [({"epochs": 3}, "max_epochs"), ({"max_epochs": "x"}, "takes int")])
def test_options_are_checked(app_dir: Path, task: TaskSpec, studies: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retrain(app_dir, task, studies, options)


def test_a_task_without_train_is_not_trained(app_dir: Path, studies: Path) -> None:
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text[: text.index("[task.train]")])
    with pytest.raises(SpecError, match="add a recipe to train it"):
        retrain(app_dir, "tubes", studies)


def test_training_uses_what_labels_cover_and_goes_on_after_a_class_was_added(
    app_dir: Path, task: TaskSpec, starter: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    covered: dict[str, Any] = {}
    real = module.train

    def train(recipe: Any, network: Any, cases: list[Case], *args: Any, **options: Any) -> Any:
        covered.update((case.id, case.covered) for case in cases)
        return real(recipe, network, cases, *args, **options)

    monkeypatch.setattr(module, "train", train)
    first = retrain(app_dir, task, studies, device="cpu")
    promote(app_dir, task.name, first.version)
    assert set(covered.values()) == {None}
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text.replace('"tube", "cavity"', '"tube", "cavity", "nodule"'))
    second = retrain(app_dir, "tubes", studies, device="cpu")
    assert set(covered.values()) == {("tube", "cavity")}, "labels of the time before do not cover the new class"
    assert second.parent == first.version and "does not have nodule" in second.reason
    card = find_version(versions_dir(app_dir, task), second.version).card
    assert card["labels"] == ["tube", "cavity", "nodule"]
    assert all(row["dice"]["nodule"] is None for row in card["metrics"]), "no label covers it yet"
