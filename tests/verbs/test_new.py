"""The command `new`: names of labels are separated by commas, and its answer is one JSON object."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lib.__main__ import cli
from lib.planning import new as module


def test_arguments_reach_the_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def remember(app_dir: Path, studies: Path, **options: Any) -> dict[str, Any]:
        given.update(options, app_dir=app_dir, studies=studies)
        return {"app": str(app_dir)}

    monkeypatch.setattr(module, "new_app", remember)
    command = ["new", "a", "--studies", "images", "--labels", "ball, tube ,", "--labelled", "l", "--minutes", "7"]
    done = CliRunner().invoke(cli, [*command, "--json"])
    assert json.loads(done.stdout) == {"app": "a"}
    assert (given["app_dir"], given["studies"], given["labelled"]) == (Path("a"), Path("images"), Path("l"))
    assert given["labels"] == ["ball", "tube"] and given["minutes"] == 7
