"""List, show, promote and roll back the model versions of an app's tasks."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.jobs import publish
from lib.jobs.publish import SERVER, TaskVersions
from lib.records.database import LedgerUnavailable
from lib.records.ledger import Row
from lib.records.mlflow_mirror import mirror
from lib.records.versions import STARTER, find_version, list_versions
from lib.tasks.serving.teacher import check_teacher
from lib.tasks.serving.weights import build_network, check_schema, open_task_versions
from lib.tasks.spec import AppSpec, TaskSpec, load_app

logger = logging.getLogger(__name__)


def list_models(app_dir: str | Path, task: str = "") -> dict[str, Any]:
    """Return the served, the waiting and all versions of an app's tasks, oldest first.

    Args:
        app_dir: The app's folder.
        task: Name of a task; empty for all tasks.
    """
    spec = load_app(app_dir)
    tasks = [spec.task(task)] if task else list(spec.tasks)
    return {entry.name: _overview(open_task_versions(app_dir, entry)) for entry in tasks}


def show_model(app_dir: str | Path, task: str, name: str) -> dict[str, Any]:
    """Return a version's card, its training labels with their ledger rows, and the decisions about it.

    Raises:
        ValueError: If there is no such version.
    """
    versions = open_task_versions(app_dir, load_app(app_dir).task(task))
    version = find_version(versions.root, name)
    return {
        "version": name,
        "served": versions.served == name,
        "waiting": versions.waiting == name,
        "card": version.card,
        "labels": list_training_labels(versions, name),
        "decisions": [_decision(row) for row in _decisions(versions, name)],
    }


def list_training_labels(versions: TaskVersions, name: str) -> list[dict[str, Any]]:
    """Return the labels that a version was trained on, as the ledger records them."""
    rows = [row for row in versions.ledger.rows("version", versions.task) if row.body["version"] == name]
    trained_on = rows[-1].body.get("trained_on", {}) if rows else {}
    saved = {(row.subject, row.body.get("label")): row for row in versions.ledger.rows("label")}
    found = []
    for case, hashes in trained_on.items():
        row = saved.get((case, hashes["label"]))
        facts = {key: row.body[key] for key in ("who", "source", "task", "version")} if row else {}
        found.append({"case": case, **hashes, "row": row.seq if row else None, **facts})
    return found


def list_models_trained_on(app_dir: str | Path, label: str) -> list[dict[str, Any]]:
    """Return the versions of all tasks that were trained on a label.

    Args:
        app_dir: The app's folder.
        label: SHA-256 of the label file, or the first digits of it.
    """
    spec = load_app(app_dir)
    rows = open_task_versions(app_dir, spec.tasks[0]).ledger.rows("version")
    return [
        {"task": row.subject, "version": row.body["version"], "case": case, "label": hashes["label"], "row": row.seq}
        for row in rows
        for case, hashes in row.body.get("trained_on", {}).items()
        if hashes["label"].startswith(label)
    ]


def promote(app_dir: str | Path, task: str, name: str, *, by: str = "") -> dict[str, Any]:
    """Serve a version that an admin chose, even if the gate held or rejected it.

    Raises:
        ValueError: If there is no such version, its files were changed, its labels or network are not those of the
            task, or it was trained from a version of its teacher that is not the served one.
        BrokenOutput: If a weight is not finite.
    """
    app = load_app(app_dir)
    spec = app.task(task)
    versions = open_task_versions(app_dir, spec)
    _check(app, spec, versions, name)
    return _changed(versions, lambda: publish.promote(versions, name, by=by))


def rollback(app_dir: str | Path, task: str, *, by: str = "") -> dict[str, Any]:
    """Serve the version that was served before.

    Raises:
        ValueError: If there is none.
    """
    versions = open_task_versions(app_dir, load_app(app_dir).task(task))
    return _changed(versions, lambda: publish.rollback(versions, by=by))


def roll_back_failing_version(app_dir: str | Path, task: TaskSpec, version: str, reason: str) -> None:
    """Serve the former version instead of one that fails; called by `lib.jobs.failure_watch`."""
    versions = open_task_versions(app_dir, task)
    publish.rollback(versions, by=SERVER, reason=reason, failing=version)
    # A request must not wait for MLflow.
    threading.Thread(target=update_mlflow_registry, args=(versions,), daemon=True).start()


def apply_last_decision(app_dir: str | Path, task: TaskSpec) -> bool:
    """Set the aliases to the last decision in the ledger, which a killed process may not have carried out.

    Returns:
        Whether this succeeded; serving continues if the ledger cannot be read.
    """
    try:
        publish.apply_last_decision(open_task_versions(app_dir, task))
    except (LedgerUnavailable, OSError, ValueError) as error:
        logger.warning("%s: the last decision in the ledger is not carried out yet: %s", task.name, error)
        return False
    return True


def update_mlflow_registry(versions: TaskVersions) -> None:
    """Mirror a task's versions to MLflow's registry. An error is logged only, because nothing depends on it."""
    try:
        mirror(versions.root.parent, versions.task)
    except Exception as error:
        logger.warning("%s: MLflow's registry was not updated: %s", versions.task, error)


def _overview(versions: TaskVersions) -> dict[str, Any]:
    rows = versions.ledger.rows("decision", versions.task)
    entries = {
        version.name: {
            "created": version.card.get("created", ""),
            "parent": version.card.get("parent", ""),
            "state": _state(versions, version.name),
            "decision": next((_decision(row) for row in reversed(rows) if row.body["version"] == version.name), None),
        }
        for version in list_versions(versions.root)
    }
    return {"served": versions.served, "waiting": versions.waiting, "versions": entries}


def _state(versions: TaskVersions, name: str) -> str:
    return "served" if name == versions.served else "waiting" if name == versions.waiting else "kept"


def _decisions(versions: TaskVersions, name: str) -> list[Row]:
    return [row for row in versions.ledger.rows("decision", versions.task) if row.body["version"] == name]


def _decision(row: Row) -> dict[str, Any]:
    body = row.body
    return {"row": row.seq, "at": row.at, "verdict": body["verdict"], "reasons": body["reasons"], "by": body["by"]}


def _check(app: AppSpec, spec: TaskSpec, versions: TaskVersions, name: str) -> None:
    version = find_version(versions.root, name)
    check_schema(spec, name, version.card)
    check_teacher(versions.app_dir, app, spec, name, version.card)
    build_network(spec, version.weights_path)


def _changed(versions: TaskVersions, change: Callable[[], str]) -> dict[str, Any]:
    before = versions.served
    change()
    update_mlflow_registry(versions)
    return {"task": versions.task, "served": versions.served or STARTER, "before": before}
