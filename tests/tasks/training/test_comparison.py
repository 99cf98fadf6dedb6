"""Comparison of a new version with the served one on the held-out cases, and without held-out cases."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.data.cases import Case
from lib.jobs.gate import JudgedCase
from lib.records.card import hash_labels
from lib.records.versions import set_champion, write_version
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import TaskSpec, load_app
from lib.tasks.training.comparison import judge_challenger, mean_score, served_or_none

CPU = torch.device("cpu")


@pytest.fixture
def cases(tmp_path: Path, write_ct: Callable[..., Path]) -> list[Case]:
    found = []
    for seed in range(4):
        image = write_ct(seed, folder=tmp_path / "studies", label_folder=tmp_path / "labels")
        found.append(Case(f"ct_{seed}", image, tmp_path / "labels" / image.name, f"p{seed}"))
    return found


def test_the_served_version_is_not_worse_than_itself(
    app_dir: Path, task: TaskSpec, starter: Path, cases: list[Case]
) -> None:
    split = {"train": cases[:1], "val": [], "held_out": cases[1:]}
    network = build_network(task, starter)
    comparison = judge_challenger(load_app(app_dir), task, network, split, open_task_versions(app_dir, task), CPU)
    assert comparison.compared_with == "starter"
    assert comparison.decision.verdict == "publish", comparison.decision.reason
    new, served = comparison.challenger, comparison.champion
    assert [judged.case for judged in new] == [judged.case for judged in served] == ["ct_1", "ct_2", "ct_3"]
    assert [judged.scores for judged in new] == [judged.scores for judged in served]


@pytest.mark.parametrize("served", [True, False])
def test_without_held_out_cases_another_case_is_checked_for_valid_output(
    app_dir: Path, task: TaskSpec, cases: list[Case], served: bool, request: pytest.FixtureRequest
) -> None:
    if served:
        request.getfixturevalue("starter")
    split, network = {"train": cases, "val": [], "held_out": []}, build_network(task)
    versions = open_task_versions(app_dir, task)
    held = judge_challenger(load_app(app_dir), task, network, split, versions, CPU)
    assert held.decision.verdict == "hold" and held.compared_with == ("starter" if served else "")
    with torch.no_grad():
        next(network.parameters()).fill_(math.nan)
    assert judge_challenger(load_app(app_dir), task, network, split, versions, CPU).decision.verdict == "reject"


def test_a_version_with_other_labels_is_not_compared_with(app_dir: Path, task: TaskSpec) -> None:
    root = open_task_versions(app_dir, task).root
    assert served_or_none(app_dir, task) is None
    card = {"labels": ["x"], "label_schema": hash_labels(["x"])}
    set_champion(root, write_version(root, build_network(task).state_dict(), card).name)
    assert served_or_none(app_dir, task) is None


def test_the_mean_score_ignores_missing_scores() -> None:
    judged = [
        JudgedCase(case="a", patient="a", scores={"x": 0.5, "y": 1.0}, cl_dice=None),
        JudgedCase(case="b", patient="b", scores={"x": 0.25, "y": None}, cl_dice=None),
        JudgedCase(case="c", patient="c", scores={"x": None, "y": None}, cl_dice=None),
    ]
    assert mean_score(judged) == pytest.approx((0.75 + 0.25) / 2) and math.isnan(mean_score(judged[2:]))


def test_versions_are_compared_over_the_labels_that_both_have(app_dir: Path, task: TaskSpec, cases: list[Case]) -> None:
    root = open_task_versions(app_dir, task).root
    card = {"labels": task.labels, "label_schema": hash_labels(task.labels)}
    path = write_version(root, build_network(task).state_dict(), card)
    set_champion(root, path.name)
    more = replace(task, labels=(*task.labels, "nodule"), tubular=("tube", "nodule"))
    network = build_network(more, path / "weights.safetensors", grow=True)
    split = {"train": cases[:1], "val": [], "held_out": cases[1:]}
    found = judge_challenger(load_app(app_dir), more, network, split, open_task_versions(app_dir, task), CPU)
    assert found.decision.verdict == "publish", found.decision.reason
    assert "compared over tube, cavity: the served version does not have nodule" in found.decision.reason
    assert [set(judged.scores) for judged in found.champion] == [{"tube", "cavity"}] * 3
    assert [set(judged.scores) for judged in found.challenger] == [{"tube", "cavity", "nodule"}] * 3
