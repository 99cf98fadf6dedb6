"""The verb passes on what it was told, and says in one line what is wrong."""

from pathlib import Path

import pytest

from tests.command import run


def test_an_experiment_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[experiment]\n")
    answer = run("distil", "experiment", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert answer.exit_code == 1 and answer.stderr.count("\n") == 1 and "[data] needs" in answer.stderr


def test_images_are_asked_for_with_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = {}

    def synthesise(app: Path, task: str, studies: Path, **rest: object) -> dict[str, int]:
        asked.update(rest, app=app, task=task, studies=studies)
        return {"made": 3}

    monkeypatch.setattr("lib.tasks.training.synthesis.synthesise", synthesise)
    words = ("APP", "--task", "quick", "--studies", "DIR", "--count", "3", "--set", "max_epochs=2", "--json")
    answer = run("distil", "synthesise", *words)
    assert answer.exit_code == 0 and answer.stdout.strip() == '{"made": 3}'
    assert asked["options"] == {"max_epochs": "2"} and asked["count"] == 3 and asked["maps"] == "phantom"
