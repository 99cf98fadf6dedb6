"""Listing, showing, promoting and rolling back versions."""

import json
import logging
from pathlib import Path

import pytest
import torch

from lib.jobs import publish
from lib.jobs.gate import HOLD, PUBLISH, Decision
from lib.jobs.publish import apply_decision, register
from lib.records.card import hash_labels
from lib.records.ledger import FILE, Ledger
from lib.records.versions import champion, find_version, write_version
from lib.tasks.serving import models
from lib.tasks.serving.models import (
    apply_last_decision,
    list_models,
    promote,
    roll_back_failing_version,
    rollback,
    show_model,
    update_mlflow_registry,
)
from lib.tasks.serving.weights import SchemaMismatch, build_network, open_task_versions
from lib.tasks.spec import SpecError, TaskSpec


@pytest.fixture
def add(app_dir: Path, task: TaskSpec, starter: Path):
    """Add a version and, if a verdict is given, a decision of the gate about it."""

    def added(name: str, verdict: str = "", card: dict | None = None, **facts) -> str:
        versions = open_task_versions(app_dir, task)
        write_version(versions.root, build_network(task).state_dict(), card or {"parent": "starter"}, name=name)
        register(versions, find_version(versions.root, name), facts)
        if verdict:
            apply_decision(versions, name, Decision(verdict, (f"{name} is new",)), compared_with=versions.served)
        return name

    return added


def test_the_list_has_states_and_decisions(app_dir: Path, add) -> None:
    add("v1", PUBLISH)
    add("v2", HOLD)
    add("v3")
    found = list_models(app_dir)["tubes"]
    assert (found["served"], found["waiting"]) == ("v1", "v2")
    assert {name: facts["state"] for name, facts in found["versions"].items()} == {
        "v1": "served",
        "v2": "waiting",
        "v3": "kept",
    }
    assert (
        found["versions"]["v2"]["decision"]["reasons"] == ["v2 is new"] and found["versions"]["v3"]["decision"] is None
    )
    json.dumps(found)
    with pytest.raises(SpecError, match="its tasks are: tubes"):
        list_models(app_dir, "other")


def test_a_version_shows_its_card_labels_and_decisions(app_dir: Path, add) -> None:
    learned = {"ct_1": {"image": "a" * 64, "label": "b" * 64}}
    add("v1", HOLD, {"parent": "starter", "model": "m"}, trained_on=learned)
    promote(app_dir, "tubes", "v1", by="Anna")
    shown = show_model(app_dir, "tubes", "v1")
    assert shown["served"] and shown["card"]["model"] == "m"
    assert shown["labels"] == [{"case": "ct_1", "image": "a" * 64, "label": "b" * 64, "row": None}]
    assert [(decision["verdict"], decision["by"]) for decision in shown["decisions"]] == [
        ("hold", "gate"),
        ("promote", "Anna"),
    ]
    (found,) = models.list_models_trained_on(app_dir, "bbb")
    assert (found["task"], found["version"], found["case"]) == ("tubes", "v1", "ct_1")


def test_promotion_and_rollback_change_the_served_version(app_dir: Path, task: TaskSpec, add) -> None:
    add("v1", PUBLISH)
    add("v2", HOLD)
    assert promote(app_dir, "tubes", "v2") == {"task": "tubes", "served": "v2", "before": "v1"}
    assert rollback(app_dir, "tubes") == {"task": "tubes", "served": "v1", "before": "v2"}
    assert (
        rollback(app_dir, "tubes")["served"] == "starter" and champion(open_task_versions(app_dir, task).root) is None
    )


def test_a_version_with_other_labels_is_not_promoted(app_dir: Path, add) -> None:
    add("v1", HOLD, {"labels": ["x"], "label_schema": hash_labels(["x"])})
    with pytest.raises(SchemaMismatch, match=r"gives x, and app\.toml declares tube, cavity"):
        promote(app_dir, "tubes", "v1")


def test_a_version_with_another_network_is_not_promoted(app_dir: Path, task: TaskSpec, add) -> None:
    write_version(open_task_versions(app_dir, task).root, {"other": torch.ones(1)}, {}, name="v1")
    with pytest.raises(ValueError, match="does not fit"):
        promote(app_dir, "tubes", "v1")


def test_a_failing_version_is_rolled_back(app_dir: Path, task: TaskSpec, add) -> None:
    add("v1", PUBLISH)
    roll_back_failing_version(app_dir, task, "v1", "it failed on 3 images in a row")
    assert open_task_versions(app_dir, task).served == "starter"
    assert Ledger.of(app_dir).rows("decision")[-1].body["reasons"] == ["it failed on 3 images in a row"]


def test_a_decision_of_a_killed_process_is_carried_out_at_the_start(
    app_dir: Path, task: TaskSpec, add, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(publish, "apply_last_decision", lambda _: None)
        add("v1", PUBLISH)
    assert open_task_versions(app_dir, task).served == "starter"
    apply_last_decision(app_dir, task)
    assert open_task_versions(app_dir, task).served == "v1"


def test_serving_continues_if_the_ledger_cannot_be_read(
    app_dir: Path, task: TaskSpec, add, caplog: pytest.LogCaptureFixture
) -> None:
    add("v1", PUBLISH)
    (app_dir / "records" / FILE).write_text("this is not a database, and it is longer than the header of one" * 100)
    with caplog.at_level(logging.WARNING):
        apply_last_decision(app_dir, task)
    assert "not carried out yet" in caplog.text and open_task_versions(app_dir, task).served == "v1"


def test_an_error_of_mlflow_is_logged(
    app_dir: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("no mlflow here")

    monkeypatch.setattr(models, "mirror", fail)
    with caplog.at_level(logging.WARNING):
        update_mlflow_registry(open_task_versions(app_dir, task))
    assert "no mlflow here" in caplog.text
