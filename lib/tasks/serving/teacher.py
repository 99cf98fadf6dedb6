"""A student and its teacher: which version was learned from, and whether that one still serves.

A student is published only while the teacher it learned from serves. Once served it goes on serving when its teacher
moves on, since it is as good as it was, and says so in its answers until a student of the new version takes its place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.learning.teacher import Teacher
from lib.records.card import hash_file
from lib.records.versions import STARTER
from lib.tasks.serving.weights import (
    NoWeights,
    SchemaMismatch,
    ServedWeights,
    build_network,
    served_weights,
    weights_named,
)
from lib.tasks.spec import AppSpec, TaskSpec

TEACHER = "teacher"
"""Where a card's notes name the teacher: its task, its version and the SHA-256 of its weights."""


class TeacherMismatch(ValueError):
    """Raised for a student of another version of its teacher than the one that serves."""


def teacher_of(app: AppSpec, task: TaskSpec) -> TaskSpec:
    """Return the task that a student's task learns from."""
    assert task.teacher is not None, "only a student has a teacher"
    return app.task(task.teacher)


def load_teacher(app_dir: str | Path, teacher: TaskSpec, name: str) -> Teacher:
    """Return a version of a teacher, ready to be learned from.

    Args:
        app_dir: The app's folder.
        teacher: Its task.
        name: The version's.
    Raises:
        ValueError: If there is no such version.
    """
    weights = weights_named(app_dir, teacher, name)
    network = build_network(teacher, weights.path).requires_grad_(False)
    return Teacher(network, teacher.image, hash_file(weights.path))


def told(app_dir: str | Path, teacher: TaskSpec, name: str) -> dict[str, str]:
    """Return what a student's card keeps of its teacher."""
    weights = weights_named(app_dir, teacher, name)
    return {"task": teacher.name, "version": weights.name, "weights": hash_file(weights.path)}


def moved_on(app_dir: str | Path, app: AppSpec, task: TaskSpec, card: Mapping[str, Any]) -> str:
    """Return why a version is no student of the teacher that serves now; empty if it is one, or nobody's student.

    Args:
        app_dir: The app's folder.
        app: The app.
        task: The student's task.
        card: The version's.
    """
    if task.teacher is None:
        return ""
    teacher, learned = teacher_of(app, task), card.get("notes", {}).get(TEACHER, {})
    try:
        served = served_weights(app_dir, teacher)
    except (NoWeights, SchemaMismatch) as error:
        return str(error)
    if learned.get("task") != teacher.name:
        return f"it learned from '{learned.get('task', 'nobody')}', and '{teacher.name}' is its teacher in app.toml"
    if _same(learned, served):
        return ""
    return f"it learned from version {learned['version']} of '{teacher.name}', which serves {served.name} by now"


def check_teacher(app_dir: str | Path, app: AppSpec, task: TaskSpec, name: str, card: Mapping[str, Any]) -> None:
    """Refuse a student of another version of its teacher than the one that serves.

    Raises:
        TeacherMismatch: With what it learned from, and what to do.
    """
    if why := moved_on(app_dir, app, task, card):
        raise TeacherMismatch(f"version {name} of task '{task.name}' cannot be published: {why}; train it anew")


def _same(learned: Mapping[str, str], served: ServedWeights) -> bool:
    # A version is written once, so its name will do; the starter may be another one after an update.
    if served.name != STARTER or learned["version"] != STARTER:
        return learned["version"] == served.name
    return learned["weights"] == hash_file(served.path)
