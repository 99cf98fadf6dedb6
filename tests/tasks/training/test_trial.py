"""A trial: both versions on the same held-out cases, and what there is to judge by where there are none."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.data.cases import Case
from lib.jobs.gate import Judged
from lib.records.card import hash_labels
from lib.records.versions import set_champion, write_version
from lib.tasks.serving.weights import build_network, shelf
from lib.tasks.spec import TaskSpec, load_app
from lib.tasks.training.trial import mean_score, served_or_none, try_out

CPU = torch.device("cpu")


@pytest.fixture
def cases(tmp_path: Path, write_ct: Callable[..., Path]) -> list[Case]:
    found = []
    for seed in range(3):
        image = write_ct(seed, folder=tmp_path / "studies", label_folder=tmp_path / "labels")
        found.append(Case(f"ct_{seed}", image, tmp_path / "labels" / image.name, f"p{seed}"))
    return found


def test_the_served_version_against_itself_is_no_worse(
    app_dir: Path, task: TaskSpec, starter: Path, cases: list[Case]
) -> None:
    split = {"train": cases[:1], "val": [], "held_out": cases[1:]}
    network = build_network(task, starter)
    trial = try_out(load_app(app_dir), task, network, split, shelf(app_dir, task), CPU)
    assert trial.against == "starter" and trial.decision.verdict == "publish", trial.decision.reason
    assert [each.case for each in trial.challenger] == [each.case for each in trial.champion] == ["ct_1", "ct_2"]
    assert [each.scores for each in trial.challenger] == [each.scores for each in trial.champion]


@pytest.mark.parametrize("served", [True, False])
def test_without_held_out_cases_the_canary_looks_at_others(
    app_dir: Path, task: TaskSpec, cases: list[Case], served: bool, request: pytest.FixtureRequest
) -> None:
    if served:
        request.getfixturevalue("starter")
    split, network = {"train": cases, "val": [], "held_out": []}, build_network(task)
    place = shelf(app_dir, task)
    held = try_out(load_app(app_dir), task, network, split, place, CPU)
    assert held.decision.verdict == "hold" and held.against == ("starter" if served else "")
    with torch.no_grad():
        next(network.parameters()).fill_(math.nan)
    assert try_out(load_app(app_dir), task, network, split, place, CPU).decision.verdict == "reject"


def test_a_version_of_other_labels_is_nothing_to_compare_with(app_dir: Path, task: TaskSpec) -> None:
    root = shelf(app_dir, task).root
    assert served_or_none(app_dir, task) is None
    card = {"labels": ["x"], "label_schema": hash_labels(["x"])}
    set_champion(root, write_version(root, build_network(task).state_dict(), card).name)
    assert served_or_none(app_dir, task) is None


def test_mean_score_leaves_out_what_has_no_score() -> None:
    judged = [
        Judged(case="a", patient="a", scores={"x": 0.5, "y": 1.0}, cl_dice=None),
        Judged(case="b", patient="b", scores={"x": 0.25, "y": None}, cl_dice=None),
        Judged(case="c", patient="c", scores={"x": None, "y": None}, cl_dice=None),
    ]
    assert mean_score(judged) == pytest.approx((0.75 + 0.25) / 2) and math.isnan(mean_score(judged[2:]))
