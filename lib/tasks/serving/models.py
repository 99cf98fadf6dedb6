"""The versions of an app's tasks as an admin sees them: what there is, what is served, and the word that changes it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.jobs import publish
from lib.jobs.publish import SERVER, Shelf
from lib.records.engine import LedgerUnavailable
from lib.records.ledger import Row
from lib.records.registry import mirror
from lib.records.versions import STARTER, find_version, list_versions
from lib.tasks.serving.teacher import check_teacher
from lib.tasks.serving.weights import build_network, check_schema, shelf
from lib.tasks.spec import AppSpec, TaskSpec, load_app

logger = logging.getLogger(__name__)


def list_models(app_dir: str | Path, task: str = "") -> dict[str, Any]:
    """Return every version of an app's tasks, oldest first.

    Args:
        app_dir: The app's folder.
        task: One task's name; empty for all.
    """
    spec = load_app(app_dir)
    tasks = [spec.task(task)] if task else list(spec.tasks)
    return {each.name: _overview(shelf(app_dir, each)) for each in tasks}


def show_model(app_dir: str | Path, task: str, name: str) -> dict[str, Any]:
    """Return a version's card, the labels it learned from with their rows, and the decisions about it.

    Raises:
        ValueError: If there is no such version.
    """
    place = shelf(app_dir, load_app(app_dir).task(task))
    version = find_version(place.root, name)
    return {
        "version": name,
        "served": place.served == name,
        "waiting": place.waiting == name,
        "card": version.card,
        "labels": labels_of(place, name),
        "decisions": [_decision(row) for row in _decisions(place, name)],
    }


def labels_of(place: Shelf, name: str) -> list[dict[str, Any]]:
    """Return the labels that a version learned from, as the ledger has them."""
    rows = [row for row in place.ledger.rows("version", place.task) if row.body["version"] == name]
    trained_on = rows[-1].body.get("trained_on", {}) if rows else {}
    saved = {(row.subject, row.body.get("label")): row for row in place.ledger.rows("label")}
    found = []
    for case, hashes in trained_on.items():
        row = saved.get((case, hashes["label"]))
        facts = {key: row.body[key] for key in ("who", "source", "task", "version")} if row else {}
        found.append({"case": case, **hashes, "row": row.seq if row else None, **facts})
    return found


def models_of(app_dir: str | Path, label: str) -> list[dict[str, Any]]:
    """Return the versions of all tasks that learned from a label.

    Args:
        app_dir: The app's folder.
        label: SHA-256 of the label, or its beginning.
    """
    spec = load_app(app_dir)
    rows = shelf(app_dir, spec.tasks[0]).ledger.rows("version")
    return [
        {"task": row.subject, "version": row.body["version"], "case": case, "label": hashes["label"], "row": row.seq}
        for row in rows
        for case, hashes in row.body.get("trained_on", {}).items()
        if hashes["label"].startswith(label)
    ]


def promote(app_dir: str | Path, task: str, name: str, *, by: str = "") -> dict[str, Any]:
    """Serve a version by a person's word; the gate may have held or rejected it, but it must be able to serve.

    Raises:
        ValueError: If there is no such version, its files changed, it is of other labels or another network, or it
            learned from another version of its teacher than the one that serves.
        BrokenOutput: If its weights are no numbers.
    """
    app = load_app(app_dir)
    spec = app.task(task)
    place = shelf(app_dir, spec)
    _check(app, spec, place, name)
    return _changed(place, lambda: publish.promote(place, name, by=by))


def rollback(app_dir: str | Path, task: str, *, by: str = "") -> dict[str, Any]:
    """Serve what was served before.

    Raises:
        ValueError: If nothing was.
    """
    place = shelf(app_dir, load_app(app_dir).task(task))
    return _changed(place, lambda: publish.rollback(place, by=by))


def take_back(app_dir: str | Path, task: TaskSpec, version: str, reason: str) -> None:
    """Serve the former version in the place of one that fails; for `lib.jobs.watch`."""
    place = shelf(app_dir, task)
    publish.rollback(place, by=SERVER, reason=reason, failing=version)
    # Nobody who waits for an image waits for MLflow.
    threading.Thread(target=show_in_mlflow, args=(place,), daemon=True).start()


def settle(app_dir: str | Path, task: TaskSpec) -> bool:
    """Carry out a decision that a killed process or a failing disk left.

    Returns:
        Whether that could be done; a ledger that cannot be read keeps nobody from serving.
    """
    try:
        publish.settle(shelf(app_dir, task))
    except (LedgerUnavailable, OSError, ValueError) as error:
        logger.warning("%s: the ledger's last decision is not carried out yet: %s", task.name, error)
        return False
    return True


def show_in_mlflow(place: Shelf) -> None:
    """Mirror a task's versions to MLflow's registry; its trouble is logged, for nothing here depends on it."""
    try:
        mirror(place.root.parent, place.task)
    except Exception as error:
        logger.warning("MLflow's registry was not renewed: %s", error)


def _overview(place: Shelf) -> dict[str, Any]:
    rows = place.ledger.rows("decision", place.task)
    versions = {
        version.name: {
            "created": version.card.get("created", ""),
            "parent": version.card.get("parent", ""),
            "state": _state(place, version.name),
            "decision": next((_decision(row) for row in reversed(rows) if row.body["version"] == version.name), None),
        }
        for version in list_versions(place.root)
    }
    return {"served": place.served, "waiting": place.waiting, "versions": versions}


def _state(place: Shelf, name: str) -> str:
    return "served" if name == place.served else "waiting" if name == place.waiting else "kept"


def _decisions(place: Shelf, name: str) -> list[Row]:
    return [row for row in place.ledger.rows("decision", place.task) if row.body["version"] == name]


def _decision(row: Row) -> dict[str, Any]:
    body = row.body
    return {"row": row.seq, "at": row.at, "verdict": body["verdict"], "reasons": body["reasons"], "by": body["by"]}


def _check(app: AppSpec, spec: TaskSpec, place: Shelf, name: str) -> None:
    version = find_version(place.root, name)
    check_schema(spec, name, version.card)
    check_teacher(place.app_dir, app, spec, name, version.card)
    build_network(spec, version.weights_path)


def _changed(place: Shelf, change: Callable[[], str]) -> dict[str, Any]:
    before = place.served
    change()
    show_in_mlflow(place)
    return {"task": place.task, "served": place.served or STARTER, "before": before}
