import json
from pathlib import Path

import pytest

from tests.command import run


def test_models_are_listed_shown_promoted_and_rolled_back(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.tasks.serving.models.mirror", lambda *_: None)
    task = ("--task", "topowmamba", "--json")
    assert json.loads(run("models", "list", app, "--json").stdout)["topowmamba"]["served"] == "v1"
    assert json.loads(run("models", "show", app, "v1", *task).stdout)["labels"][0]["case"] == "ct"
    promoted = json.loads(run("models", "promote", app, "v2", "--by", "Anna", *task).stdout)
    assert (promoted["served"], promoted["before"]) == ("v2", "v1")
    assert json.loads(run("models", "rollback", app, *task).stdout)["served"] == "v1"
    again = run("models", "rollback", app, *task)
    assert again.exit_code == 1 and "nothing was served before v1" in again.stderr
    assert "v2:" in run("models", "list", app).stdout
