import json
from dataclasses import replace
from pathlib import Path

import pytest

from lib.data.cases import Case, find_cases
from lib.data.files.runs import Runs
from lib.data.split import split_pool_and_test
from lib.simulation.campaign import Plan
from lib.simulation.people import Lazy, Oracle
from lib.simulation.rehearsal import known_strategies, plan_facts, rehearse
from tests.server.conftest import APP, ROOT, tiny_ct, write


def case(name: str, patient: str = "", label: bool = True) -> Case:
    return Case(name, Path(f"{name}.nii"), Path(f"label_{name}.nii") if label else None, patient or name)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.toml").write_text(APP)
    return Plan(tmp_path / "app", "tubes", [case("a"), case("b")], [case("c")], Oracle())


def test_the_number_of_threads_does_not_change_the_plan(plan: Plan, tmp_path: Path) -> None:
    Runs(tmp_path / "out", plan_facts(plan))
    Runs(tmp_path / "out", plan_facts(replace(plan, threads=7)))


@pytest.mark.parametrize("change", [{"rounds": 9}, {"person": Lazy()}, {"options": {"max_epochs": 3}}, {"test": []}])
def test_rehearsals_of_another_plan_are_refused(plan: Plan, tmp_path: Path, change: dict) -> None:
    Runs(tmp_path / "out", plan_facts(plan))
    with pytest.raises(ValueError, match="another plan"):
        Runs(tmp_path / "out", plan_facts(replace(plan, **change)))


def test_an_app_without_scores_offers_the_random_strategy_only(plan: Plan) -> None:
    assert known_strategies(plan) == ["random"]
    app = plan.app_dir / "app.toml"
    app.write_text(APP.replace("[task.train]", "scores = { samples = 2 }\n\n[task.train]"))
    assert {"random", "foreground_random", "entropy"} < set(known_strategies(plan))


@pytest.mark.server
def test_a_rehearsal_at_a_real_server_is_reproducible(tmp_path: Path) -> None:
    cases, app = tmp_path / "cases", tmp_path / "app"
    for seed in range(9):
        for voxels, where in zip(tiny_ct(seed), (cases, cases / "labels" / "final"), strict=True):
            write(voxels, where / f"ct_{seed}.nii.gz")
    app.mkdir()
    (app / "main.py").write_text((ROOT / "apps" / "airway" / "main.py").read_text())
    (app / "app.toml").write_text(APP.replace("[task.train]", "scores = { samples = 2 }\n\n[task.train]"))
    pool, test = split_pool_and_test(find_cases(cases), 2)
    plan = Plan(app, "tubes", pool, test, Oracle(), rounds=2, batch=3, options={"max_epochs": 1, "val_interval": 1})
    progress = []
    names = ["random", "foreground_random"]
    first = rehearse(
        plan, names, [0], tmp_path / "one", at_once=2, progress=lambda done, total: progress.append((done, total))
    )
    assert progress[-1] == (3, 3) and (tmp_path / "one" / "curves.png").is_file()
    assert {finding["strategy"] for finding in first["findings"]} == set(names)
    run = json.loads((tmp_path / "one" / "runs" / "random-0.json").read_text())["points"]
    assert [point["labels"] for point in run] == [3, 6] and run[1]["minutes"] > run[0]["minutes"] > 1.5
    assert len({name for point in run for name in point["cases"]}) == 6
    again = rehearse(plan, ["random"], [0], tmp_path / "two")
    other = json.loads((tmp_path / "two" / "runs" / "random-0.json").read_text())["points"]
    assert other == run and again["reference"] == "random"
    # Finished rehearsals are not repeated.
    progress.clear()
    rehearse(plan, names, [0], tmp_path / "one", progress=lambda done, total: progress.append((done, total)))
    assert progress == []
