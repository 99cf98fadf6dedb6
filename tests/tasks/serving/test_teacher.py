"""Students: training from the served version of the teacher, and refusal if that version was replaced."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.models.weights import save_weights
from lib.records.card import hash_file
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.tasks.segmentation import learn as module
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.models import promote, rollback
from lib.tasks.serving.teacher import (
    TEACHER,
    TeacherMismatch,
    check_teacher,
    describe_teacher,
    find_teacher_mismatch,
    load_teacher,
)
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import AppSpec, load_app
from lib.tasks.training.retrain import retrain
from lib.tasks.training.run_start import TRANSFER

STUDENT = """
[[task]]
name = "quick"
kind = "segmentation"
model = "student_conv"
labels = ["tube", "cavity"]
teacher = "tubes"
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }

[task.train]
recipe = "distil"
max_epochs = 2
val_interval = 2
patches_per_epoch = 16
batch_size = 8
warmup_steps = 0
finetune_epochs = 1
"""


@pytest.fixture
def app(app_dir: Path, starter: Path) -> AppSpec:
    """The tiny app with a student, and a teacher whose starter is served."""
    (app_dir / "app.toml").write_text((app_dir / "app.toml").read_text() + STUDENT)
    return load_app(app_dir)


@pytest.fixture
def studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Path:
    """Three studies with a label and four without."""
    folder = tmp_path / "studies"
    for seed in range(3):
        write_ct(seed, folder=folder, label_folder=folder / "labels" / "final")
    for seed in range(10, 14):
        write_ct(seed, folder=folder)
    return folder


def publish_teacher(app_dir: Path, app: AppSpec, name: str) -> None:
    """Publish another version of the teacher."""
    task = app.task("tubes")
    write_version(open_task_versions(app_dir, task).root, build_network(task).state_dict(), {}, name=name)
    promote(app_dir, "tubes", name)


def test_a_student_is_trained_and_judged_and_its_card_names_the_teacher(
    app_dir: Path, app: AppSpec, studies: Path
) -> None:
    weights = app_dir / "starter" / "topowmamba_tiny" / "weights.safetensors"
    before = weights.read_bytes()
    outcome = retrain(app_dir, "quick", studies, device="cpu")
    versions = open_task_versions(app_dir, app.task("quick"))
    notes = find_version(versions.root, outcome.version).card["notes"]
    assert notes[TEACHER] == {"task": "tubes", "version": "starter", "weights": hash_file(weights)}
    assert weights.read_bytes() == before
    assert "teacher_share" in notes["gate"]["figures"]
    # Some unlabelled cases are assigned to val or held_out, and none of those is used for training.
    parts = {row.body["case"]: row.body["part"] for row in Ledger.of(app_dir).rows("split")}
    assert set(notes[TRANSFER]) == {name for name, part in parts.items() if part == "train" and int(name[3:]) >= 10}
    assert 0 < len(notes[TRANSFER]) < 4 and len(parts) == 7
    again = retrain(app_dir, "quick", studies, device="cpu")
    cached = list((versions.root / "cache" / "teacher").glob("*.npy"))
    assert again.version != outcome.version and len(cached) == outcome.train_cases + len(notes[TRANSFER])


def test_a_student_is_rejected_if_its_teacher_was_replaced_during_training(
    app_dir: Path, app: AppSpec, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.train

    def train(*args, **options):
        if options["teacher"] is not None:
            publish_teacher(app_dir, app, "v2")
        return real(*args, **options)

    monkeypatch.setattr(module, "train", train)
    outcome = retrain(app_dir, "quick", studies, device="cpu")
    assert outcome.verdict == "reject" and not outcome.published
    assert outcome.reason.startswith("it was trained from version starter of 'tubes', but v2 is served now")


def test_only_a_student_of_the_served_teacher_version_can_be_promoted(app_dir: Path, app: AppSpec) -> None:
    task = app.task("quick")
    versions, network = open_task_versions(app_dir, task), build_network(task)
    for name, teacher in (("of-starter", "starter"), ("of-v2", "v2"), ("without-teacher", "")):
        if name == "of-v2":
            publish_teacher(app_dir, app, "v2")
        notes = {TEACHER: describe_teacher(app_dir, app.task("tubes"), teacher)} if teacher else {}
        write_version(versions.root, network.state_dict(), {"notes": notes}, name=name)
    for name, why in (
        ("of-starter", "but v2 is served now; train the task again"),
        ("without-teacher", "trained without a teacher"),
    ):
        with pytest.raises(TeacherMismatch, match=why):
            promote(app_dir, "quick", name)
    assert promote(app_dir, "quick", "of-v2")["served"] == "of-v2"
    rollback(app_dir, "tubes", by="Anna")
    why = find_teacher_mismatch(app_dir, app, task, find_version(versions.root, "of-v2").card)
    assert why == "it was trained from version v2 of 'tubes', but starter is served now"


def test_a_served_student_stays_in_service_with_a_note_when_its_teacher_is_replaced(
    app_dir: Path, app: AppSpec, write_ct: Callable[..., Path]
) -> None:
    task, path = app.task("quick"), write_ct(0)
    notes = {TEACHER: describe_teacher(app_dir, app.task("tubes"), "starter")}
    write_version(open_task_versions(app_dir, task).root, build_network(task).state_dict(), {"notes": notes}, name="v1")
    promote(app_dir, "quick", "v1")
    segmenter = Segmenter.from_task(app_dir, "quick", device="cpu")
    assert segmenter.segment(path).notes == ()
    publish_teacher(app_dir, app, "v2")
    answer = segmenter.segment(path)
    assert answer.version == "v1"
    assert answer.notes == (
        "its teacher was replaced: it was trained from version starter of 'tubes', but v2 is served now",
    )


def test_a_replaced_starter_counts_as_another_teacher_version(app_dir: Path, app: AppSpec, starter: Path) -> None:
    """Both are called "starter", so their weights are compared."""
    card = {"notes": {TEACHER: describe_teacher(app_dir, app.task("tubes"), "starter")}}
    check_teacher(app_dir, app, app.task("quick"), "v1", card)
    network = build_network(app.task("tubes"))
    with torch.no_grad():
        next(network.parameters()).add_(1)
    save_weights(network, starter)
    with pytest.raises(TeacherMismatch, match="version starter of 'tubes', but starter is served now"):
        check_teacher(app_dir, app, app.task("quick"), "v1", card)


def test_a_task_without_a_teacher_has_no_mismatch(app_dir: Path, app: AppSpec) -> None:
    assert find_teacher_mismatch(app_dir, app, app.task("tubes"), {}) == ""


def test_a_teacher_without_weights_is_a_mismatch(app_dir: Path, app: AppSpec, starter: Path) -> None:
    starter.unlink()
    assert "has no weights" in find_teacher_mismatch(app_dir, app, app.task("quick"), {})


def test_a_loaded_teacher_has_no_trainable_weights(app_dir: Path, app: AppSpec, starter: Path) -> None:
    teacher = load_teacher(app_dir, app.task("tubes"), "starter")
    assert teacher.version == hash_file(starter) and teacher.spec == app.task("tubes").image
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert not teacher.network.training
