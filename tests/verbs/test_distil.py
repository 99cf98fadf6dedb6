"""Commands for distillation: they pass their options on, and report an error in one line."""

from pathlib import Path

import pytest

from tests.command import run


def test_an_invalid_experiment_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[experiment]\n")
    answer = run("distil", "experiment", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert answer.exit_code == 1 and answer.stderr.count("\n") == 1 and "[data] needs" in answer.stderr


def test_synthesise_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    received = {}

    def synthesise(app: Path, task: str, studies: Path, **rest: object) -> dict[str, int]:
        received.update(rest, app=app, task=task, studies=studies)
        return {"made": 3}

    monkeypatch.setattr("lib.tasks.training.synthesis.synthesise", synthesise)
    arguments = ("APP", "--task", "quick", "--studies", "DIR", "--count", "3", "--set", "max_epochs=2", "--json")
    answer = run("distil", "synthesise", *arguments)
    assert answer.exit_code == 0 and answer.stdout.strip() == '{"made": 3}'
    assert received["options"] == {"max_epochs": "2"} and received["count"] == 3 and received["maps"] == "phantom"
