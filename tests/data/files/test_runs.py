import json
from pathlib import Path

import pytest

from lib.data.files.runs import Runs


def test_finished_run_is_stored_and_unfinished_run_is_missing(tmp_path: Path) -> None:
    Runs(tmp_path, {"seeds": (0, 1)}).put("entropy-0", {"dice": 0.5})
    (tmp_path / "runs" / ".entropy-1.json.half.json").write_text('{"dice"')
    runs = Runs(tmp_path, {"seeds": [0, 1]})
    assert runs.get("entropy-0") == {"dice": 0.5} and runs.get("entropy-1") is None
    assert runs.all() == {"entropy-0": {"dice": 0.5}}
    assert json.loads((tmp_path / "plan.json").read_text()) == {"seeds": [0, 1]}


def test_runs_of_another_plan_are_refused(tmp_path: Path) -> None:
    Runs(tmp_path, {"seeds": 2})
    with pytest.raises(ValueError, match="another plan: choose another folder"):
        Runs(tmp_path, {"seeds": 3})
