"""A student and its teacher: what it learns from, and when it may not be published."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.models.weights import save_weights
from lib.records.card import hash_file
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.models import promote, rollback
from lib.tasks.serving.teacher import TEACHER, TeacherMismatch, check_teacher, load_teacher, moved_on, told
from lib.tasks.serving.weights import build_network, shelf
from lib.tasks.spec import AppSpec, load_app
from lib.tasks.training import retrain as module
from lib.tasks.training.retrain import retrain
from lib.tasks.training.run_start import TRANSFER

STUDENT = """
[[task]]
name = "quick"
kind = "segmentation"
model = "student_conv"
labels = ["tube", "cavity"]
teacher = "tubes"
image = { spacing_mm = [2, 2, 2], window_hu = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }

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
    """The tiny app with a student, and a teacher that serves its starter."""
    (app_dir / "app.toml").write_text((app_dir / "app.toml").read_text() + STUDENT)
    return load_app(app_dir)


@pytest.fixture
def studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Path:
    """Three labelled studies and four without a label."""
    folder = tmp_path / "studies"
    for seed in range(3):
        write_ct(seed, folder=folder, label_folder=folder / "labels" / "final")
    for seed in range(10, 14):
        write_ct(seed, folder=folder)
    return folder


def new_teacher(app_dir: Path, app: AppSpec, name: str) -> None:
    """Publish another version of the teacher."""
    task = app.task("tubes")
    write_version(shelf(app_dir, task).root, build_network(task).state_dict(), {}, name=name)
    promote(app_dir, "tubes", name)


def test_a_student_is_distilled_judged_and_bound_to_its_teacher(app_dir: Path, app: AppSpec, studies: Path) -> None:
    weights = app_dir / "starter" / "topowmamba_tiny" / "weights.safetensors"
    before = weights.read_bytes()
    outcome = retrain(app_dir, "quick", studies, device="cpu")
    place = shelf(app_dir, app.task("quick"))
    notes = find_version(place.root, outcome.version).card["notes"]
    assert notes[TEACHER] == {"task": "tubes", "version": "starter", "weights": hash_file(weights)}
    assert weights.read_bytes() == before
    assert "teacher_share" in notes["gate"]["figures"]
    # Some of the unlabelled are kept for judging, and none of those was seen.
    parts = {row.body["case"]: row.body["part"] for row in Ledger.of(app_dir).rows("split")}
    assert set(notes[TRANSFER]) == {name for name, part in parts.items() if part == "train" and int(name[3:]) >= 10}
    assert 0 < len(notes[TRANSFER]) < 4 and len(parts) == 7
    again = retrain(app_dir, "quick", studies, device="cpu")
    cached = list((place.root / "cache" / "teacher").glob("*.npy"))
    assert again.version != outcome.version and len(cached) == outcome.train_cases + len(notes[TRANSFER])


def test_a_student_of_a_teacher_that_was_replaced_meanwhile_is_rejected(
    app_dir: Path, app: AppSpec, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.train

    def train(*args, **options):
        if options["teacher"] is not None:
            new_teacher(app_dir, app, "v2")
        return real(*args, **options)

    monkeypatch.setattr(module, "train", train)
    outcome = retrain(app_dir, "quick", studies, device="cpu")
    assert outcome.verdict == "reject" and not outcome.published
    assert outcome.reason.startswith("it learned from version starter of 'tubes', which serves v2 by now")


def test_only_a_student_of_the_serving_teacher_can_be_promoted(app_dir: Path, app: AppSpec) -> None:
    task = app.task("quick")
    place, network = shelf(app_dir, task), build_network(task)
    for name, teacher in (("of-starter", "starter"), ("of-v2", "v2"), ("of-nobody", "")):
        if name == "of-v2":
            new_teacher(app_dir, app, "v2")
        notes = {TEACHER: told(app_dir, app.task("tubes"), teacher)} if teacher else {}
        write_version(place.root, network.state_dict(), {"notes": notes}, name=name)
    for name, why in (("of-starter", "which serves v2 by now; train it anew"), ("of-nobody", "from 'nobody'")):
        with pytest.raises(TeacherMismatch, match=why):
            promote(app_dir, "quick", name)
    assert promote(app_dir, "quick", "of-v2")["served"] == "of-v2"
    rollback(app_dir, "tubes", by="Anna")
    why = moved_on(app_dir, app, task, find_version(place.root, "of-v2").card)
    assert why == "it learned from version v2 of 'tubes', which serves starter by now"


def test_a_served_student_goes_on_when_its_teacher_moves_on_and_says_so(
    app_dir: Path, app: AppSpec, write_ct: Callable[..., Path]
) -> None:
    task, path = app.task("quick"), write_ct(0)
    notes = {TEACHER: told(app_dir, app.task("tubes"), "starter")}
    write_version(shelf(app_dir, task).root, build_network(task).state_dict(), {"notes": notes}, name="v1")
    promote(app_dir, "quick", "v1")
    segmenter = Segmenter.from_task(app_dir, "quick", device="cpu")
    assert segmenter.segment(path).notes == ()
    new_teacher(app_dir, app, "v2")
    answer = segmenter.segment(path)
    assert answer.version == "v1"
    assert answer.notes == ("its teacher moved on: it learned from version starter of 'tubes', which serves v2 by now",)


def test_another_starter_is_another_teacher(app_dir: Path, app: AppSpec, starter: Path) -> None:
    """Both are called "starter", so their weights are compared."""
    card = {"notes": {TEACHER: told(app_dir, app.task("tubes"), "starter")}}
    check_teacher(app_dir, app, app.task("quick"), "v1", card)
    network = build_network(app.task("tubes"))
    with torch.no_grad():
        next(network.parameters()).add_(1)
    save_weights(network, starter)
    with pytest.raises(TeacherMismatch, match="version starter of 'tubes', which serves starter by now"):
        check_teacher(app_dir, app, app.task("quick"), "v1", card)


def test_nobodys_student_has_no_teacher_to_move_on(app_dir: Path, app: AppSpec) -> None:
    assert moved_on(app_dir, app, app.task("tubes"), {}) == ""


def test_without_anything_served_there_is_nothing_to_learn_from(app_dir: Path, app: AppSpec, starter: Path) -> None:
    starter.unlink()
    assert "has no weights" in moved_on(app_dir, app, app.task("quick"), {})


def test_a_loaded_teacher_cannot_learn(app_dir: Path, app: AppSpec, starter: Path) -> None:
    teacher = load_teacher(app_dir, app.task("tubes"), "starter")
    assert teacher.version == hash_file(starter) and teacher.spec == app.task("tubes").image
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert not teacher.network.training
