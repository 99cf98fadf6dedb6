"""Check whether a student was trained from the version of its teacher that is served.

A student is published only while that version of its teacher is served. If its teacher's version changes later, the
student stays in service: its quality has not changed. Its results carry a note until a student of the new teacher
version replaces it.
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
    check_schema,
    find_weights,
    served_weights,
)
from lib.tasks.spec import AppSpec, TaskSpec

TEACHER = "teacher"
"""Key in a card's notes for the teacher: its task, its version and the SHA-256 of its weights."""


class TeacherMismatch(ValueError):
    """Raised for a student that was trained from a version of its teacher that is not the served one."""


def teacher_of(app: AppSpec, task: TaskSpec) -> TaskSpec:
    """Return the teacher task of a student task."""
    assert task.teacher is not None, "only a student has a teacher"
    return app.task(task.teacher)


def load_teacher(app_dir: str | Path, teacher: TaskSpec, name: str) -> Teacher:
    """Return a version of a teacher, loaded for distillation.

    Args:
        app_dir: The app's folder.
        teacher: Task of the teacher.
        name: Name of the version.
    Raises:
        ValueError: If there is no such version.
        SchemaMismatch: If labels were added since: the version cannot teach them.
    """
    weights = find_weights(app_dir, teacher, name)
    known = check_schema(teacher, weights.name, weights.card)
    if known != teacher.labels:
        added = ", ".join(teacher.labels[len(known) :])
        raise SchemaMismatch(f"version {name} of the teacher '{teacher.name}' does not have {added}: train it first")
    network = build_network(teacher, weights.path).requires_grad_(False)
    return Teacher(network, teacher.image, hash_file(weights.path))


def describe_teacher(app_dir: str | Path, teacher: TaskSpec, name: str) -> dict[str, str]:
    """Return the entry of a student's card about its teacher: task, version and SHA-256 of the weights."""
    weights = find_weights(app_dir, teacher, name)
    return {"task": teacher.name, "version": weights.name, "weights": hash_file(weights.path)}


def find_teacher_mismatch(app_dir: str | Path, app: AppSpec, task: TaskSpec, card: Mapping[str, Any]) -> str:
    """Return why a student does not match the served version of its teacher.

    Args:
        app_dir: The app's folder.
        app: Specification of the app.
        task: Task of the student.
        card: Card of the student's version.
    Returns:
        The reason; empty if the version matches, or if the task has no teacher.
    """
    if task.teacher is None:
        return ""
    teacher, learned = teacher_of(app, task), card.get("notes", {}).get(TEACHER, {})
    try:
        served = served_weights(app_dir, teacher)
    except (NoWeights, SchemaMismatch) as error:
        return str(error)
    if learned.get("task") != teacher.name:
        origin = f"from '{learned['task']}'" if "task" in learned else "without a teacher"
        return f"it was trained {origin}, but its teacher in app.toml is '{teacher.name}'"
    if _same(learned, served):
        return ""
    return f"it was trained from version {learned['version']} of '{teacher.name}', but {served.name} is served now"


def check_teacher(app_dir: str | Path, app: AppSpec, task: TaskSpec, name: str, card: Mapping[str, Any]) -> None:
    """Check that a student was trained from the served version of its teacher.

    Raises:
        TeacherMismatch: If it was not; the message gives the reason and the next step.
    """
    if why := find_teacher_mismatch(app_dir, app, task, card):
        raise TeacherMismatch(f"version {name} of task '{task.name}' cannot be published: {why}; train the task again")


def _same(learned: Mapping[str, str], served: ServedWeights) -> bool:
    # A version never changes, so its name identifies it. An update may replace the starter, so its hash is compared.
    if served.name != STARTER or learned["version"] != STARTER:
        return learned["version"] == served.name
    return learned["weights"] == hash_file(served.path)
