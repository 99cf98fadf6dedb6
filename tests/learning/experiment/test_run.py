"""Running an experiment: finished runs are stored and not repeated."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.data.files.runs import Runs
from lib.learning.experiment import run as module
from lib.learning.experiment.plan import Plan
from lib.learning.experiment.run import run, scores


def test_an_experiment_runs_to_its_table_and_is_not_run_again(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan, calls = make_plan(arms=("scratch", "synthetic"), labels=(2,), seeds=2), []
    answer = run(plan, tmp_path, at_once=1, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 6) and calls[-1] == (6, 6)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        f"{arm}-2-{seed}.json" for arm in ("teacher", "scratch", "synthetic") for seed in (0, 1)
    }
    table = (tmp_path / "table.md").read_text()
    assert "with synthetic images" in table and "| scratch |" in table
    assert (tmp_path / "synthetic-1.png").is_file() and (tmp_path / "synthetic-0.json").is_file()
    assert Path(answer["picture"]).is_file() and not (tmp_path / "shared").exists()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    again = run(plan, tmp_path)
    assert again["differences"] == answer["differences"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == stamps
    with pytest.raises(ValueError, match="another plan"):
        run(make_plan(labels=(4,)), tmp_path)


def test_the_same_seeds_give_the_same_scores(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_plan(arms=("scratch",), labels=(2,), seeds=1)
    results = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        module._run_unit(plan, tmp_path / name, 0, 2, torch.device("cpu"))
        results.append([(score.arm, score.dice) for score in scores(Runs(tmp_path / name, plan.as_dict()))])
    assert results[0] == results[1]
