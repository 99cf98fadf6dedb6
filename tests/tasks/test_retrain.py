"""Training from labels: a version with its card, served only if no worse, judged on cases that never move."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.data.cases import Case
from lib.records.versions import champion, list_versions
from lib.tasks.retrain import SPLIT_FILE, retrain, verdict
from lib.tasks.spec import SpecError, TaskSpec
from lib.tasks.training_stats import read_stats
from lib.tasks.weights import versions_dir


@pytest.fixture
def studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Path:
    folder = tmp_path / "studies"
    for seed in range(3):
        write_ct(seed, folder=folder, label_folder=folder / "labels" / "final")
    write_ct(9, folder=folder)
    return folder


def test_writes_a_version_and_says_what_came_of_it(app_dir: Path, task: TaskSpec, starter: Path, studies: Path) -> None:
    outcome = retrain(app_dir, "tubes", studies, {"learning_rate": "1e-3"}, device="cpu")
    root = versions_dir(app_dir, task)
    (version,) = list_versions(root)
    assert outcome.version == version.name and outcome.parent == "starter"
    assert (outcome.train_cases, outcome.val_cases) == (2, 1)
    assert (champion(root) == version) == outcome.published == (outcome.score >= outcome.parent_score)
    card = version.card
    assert card["parent"] == "starter" and card["recipe"]["learning_rate"] == 1e-3 and len(card["data"]) == 2
    assert not set(card["data"]) & set(card["notes"]["held_out"])
    stats = read_stats(root)
    assert stats["status"] == "done" and stats["total_epochs"] == 1 and stats["version"] == version.name
    json.dumps(outcome.as_dict(), allow_nan=False)


def test_the_held_out_case_never_moves(app_dir: Path, task: TaskSpec, starter: Path, studies: Path) -> None:
    retrain(app_dir, task, studies, device="cpu")
    file = versions_dir(app_dir, task) / SPLIT_FILE
    before = json.loads(file.read_text())
    (studies / "labels" / "final" / "ct_9.nii.gz").write_bytes((studies / "labels/final/ct_0.nii.gz").read_bytes())
    retrain(app_dir, task, studies, device="cpu")
    after = json.loads(file.read_text())
    assert set(before.values()) == {"train", "val"} and after.items() > before.items()


def test_trains_from_scratch_without_weights(app_dir: Path, task: TaskSpec, studies: Path) -> None:
    outcome = retrain(app_dir, task, studies, device="cpu")
    assert outcome.parent == "" and outcome.published == math.isfinite(outcome.score)


def test_one_patient_is_too_few(app_dir: Path, task: TaskSpec, studies: Path) -> None:
    label = studies / "labels" / "final" / "ct_0.nii.gz"
    cases = [Case(name, studies / "ct_0.nii.gz", label, "one patient") for name in ("a", "b")]
    with pytest.raises(ValueError, match="two patients"):
        retrain(app_dir, task, cases)
    assert not (versions_dir(app_dir, task) / SPLIT_FILE).exists()


@pytest.mark.parametrize(("options", "says"), [({"epochs": 3}, "max_epochs"), ({"max_epochs": "x"}, "takes int")])
def test_options_are_checked(app_dir: Path, task: TaskSpec, studies: Path, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        retrain(app_dir, task, studies, options)


def test_a_task_without_train_is_not_trained(app_dir: Path, studies: Path) -> None:
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text[: text.index("[task.train]")])
    with pytest.raises(SpecError, match="not trained"):
        retrain(app_dir, "tubes", studies)


@pytest.mark.parametrize(
    ("score", "parent", "published"),
    [
        (0.5, 0.4, True),
        (0.5, 0.5, True),
        (0.4, 0.5, False),
        (math.nan, 0.1, False),
        (0.1, None, True),
        (0.1, math.nan, True),
    ],
)
def test_verdict(score: float, parent: float | None, published: bool) -> None:
    verdict_, reason = verdict(score, parent)
    assert verdict_ is published and reason
