"""An app and its tasks: `app.toml` read into frozen dataclasses, every key and type checked."""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lib.data.files.tables import SpecError, build, listed, mapping, one_of, only
from lib.jobs.policy import PolicySpec
from lib.learning.recipes.distil import Distil
from lib.records.split import HELD_OUT_PATIENTS
from lib.tasks.spec import blocks
from lib.tasks.spec.kinds import KINDS, SEGMENTATION
from lib.tasks.spec.task import TaskSpec

RANDOM = "random"
SCORED = ("foreground_random", "entropy", "mutual_information", "topology", "diversity", "entropy_diversity")
"""The strategies of an app, and those of a task that declares `scores`."""


@dataclasses.dataclass(frozen=True)
class AppSpec:
    """An app.

    Args:
        name: Its name.
        tasks: What it serves.
        description: One line for the viewer.
        strategy: How the next case is chosen.
        lease_minutes: How long a case that was given to one annotator is given to nobody else, from the last answer on.
        control_share: Share of the cases that get no automatic proposal, drawn by lot: what they take longer is what
            proposals save.
        patient_pattern: Regular expression that finds the patient in an image's name, where no DICOM tag tells it.
        held_out_patients: Patients that only judge, and without whom no new version is published by itself.
        policy: When it trains by itself.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    description: str = ""
    strategy: str = "random"
    lease_minutes: float = 120.0
    control_share: float = 0.0
    patient_pattern: str = ""
    held_out_patients: int = HELD_OUT_PATIENTS
    policy: PolicySpec = dataclasses.field(default_factory=PolicySpec)

    def task(self, name: str) -> TaskSpec:
        """Return the task of that name.

        Raises:
            SpecError: If there is none, with the names that exist.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise SpecError(f"no task '{name}' in app '{self.name}'; it has: {listed(t.name for t in self.tasks)}")

    @property
    def lessons(self) -> tuple[tuple[str, str], ...]:
        """Pairs of teacher and student: the second is trained after a version of the first was published."""
        named = [(task.name, task.student) for task in self.tasks if task.student]
        taught = [(task.teacher, task.name) for task in self.tasks if task.teacher]
        return tuple(dict.fromkeys([*named, *taught]))


def scored_strategies(tasks: Iterable[TaskSpec]) -> dict[str, tuple[TaskSpec, str]]:
    """Return the strategies that rank by the scores of a task, each with its task and its plain name.

    Where several tasks have scores, a name begins with that of the task.
    """
    scored = [task for task in tasks if task.scores]
    prefix = {task.name: f"{task.name}_" if len(scored) > 1 else "" for task in scored}
    return {f"{prefix[task.name]}{name}": (task, name) for task in scored for name in SCORED}


def load_app(app_dir: str | Path) -> AppSpec:
    """Return what ``<app_dir>/app.toml`` declares.

    Args:
        app_dir: The app's folder.
    Raises:
        SpecError: If the file is missing or not TOML, a key is unknown or missing, or a value cannot be.
    """
    path = Path(app_dir) / "app.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"there is no app.toml in {app_dir}") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    try:
        app = read_app(table)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    # A file is named from where it is named: the app may be served from anywhere.
    home = path.parent.absolute()
    tasks = tuple(
        dataclasses.replace(task, foundation=task.foundation and str(home / task.foundation)) for task in app.tasks
    )
    return dataclasses.replace(app, tasks=tasks)


def read_app(table: Mapping[str, Any]) -> AppSpec:
    """Return the app that a parsed app.toml declares.

    Args:
        table: ``{"app": {...}, "policy": {...}, "task": [{...}, ...]}``.
    Raises:
        SpecError: As `load_app`.
    """
    only(table, {"app", "policy", "task"}, "the file")
    declared = table.get("task", [])
    if not isinstance(declared, list) or not declared:
        raise SpecError("needs at least one [[task]] block")
    tasks = tuple(_task(block, f"[[task]] {index}") for index, block in enumerate(declared, start=1))
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise SpecError(f"two tasks have one name: {listed(names)}")
    head = mapping(table.get("app", {}), "[app]")
    only(head, {field.name for field in dataclasses.fields(AppSpec)} - {"tasks", "policy"}, "[app]")
    app = build(AppSpec, head, "[app]", tasks=tasks, policy=blocks.policy(mapping(table.get("policy", {}), "[policy]")))
    one_of(app.strategy, (RANDOM, *scored_strategies(tasks)), "[app] strategy")
    if not 0 <= app.control_share <= 0.5:
        raise SpecError("[app] control_share: 0 to 0.5")
    if not 0 < app.lease_minutes < float("inf"):
        raise SpecError("[app] lease_minutes: more than 0")
    if app.held_out_patients < 2:
        raise SpecError("[app] held_out_patients: two at least, for one patient gives no interval")
    try:
        re.compile(app.patient_pattern)
    except re.error as error:
        raise SpecError(f"[app] patient_pattern is no regular expression: {error}") from None
    for task in tasks:
        if task.student is not None:
            same = tuple(other.name for other in tasks if other is not task and other.labels == task.labels)
            one_of(task.student, same, f"[[task]] ({task.name}) student")
        _teacher(task, tasks)
    return app


def _task(block: Any, where: str) -> TaskSpec:
    block = dict(mapping(block, where))
    where = f"{where} ({block['name']})" if "name" in block else where
    if "kind" in block:
        one_of(block["kind"], tuple(KINDS), f"{where} kind")
    declaration, labels = KINDS[block.get("kind", SEGMENTATION)], block.get("labels", ())
    readers = {
        "image": blocks.image,
        "counts": blocks.counts,
        "train": blocks.train,
        "scores": blocks.scores,
        "gate": lambda table, place: blocks.gate(table, labels, place, metrics=declaration.metrics),
        "topology": lambda table, place: blocks.topology(table, labels, place),
    }
    block.setdefault("gate", {})
    parts: dict[str, Any] = {}
    for key, read in readers.items():
        if key in block:
            place = f"{where} {key}"
            parts[key] = read(mapping(block.pop(key), place), place)
    task = build(TaskSpec, block, where, **parts)
    one_of(task.model, tuple(declaration.networks), f"{where} model")
    if not task.name.replace("_", "").replace("-", "").isalnum():
        raise SpecError(f"{where} name: letters, digits, - and _ only, for it is part of an address")
    if ("labels" in block and not task.labels) or len(set(task.labels)) < len(task.labels) or len(task.labels) > 254:
        raise SpecError(f"{where} labels: 1 to 254 different names")
    declaration.check(task, where)
    return task


def _teacher(task: TaskSpec, tasks: tuple[TaskSpec, ...]) -> None:
    """Refuse a recipe without the teacher that it needs, or a teacher that cannot be learned from."""
    where = f"[[task]] ({task.name}) teacher"
    distils = task.train is not None and isinstance(task.train.options, Distil)
    if distils != (task.teacher is not None):
        raise SpecError(f"{where}: the recipe 'distil' needs one, and only that recipe")
    if task.teacher is None:
        return
    able = tuple(other.name for other in tasks if other.teacher is None and other.labels == task.labels)
    one_of(task.teacher, able, where)
    theirs = next(other.image for other in tasks if other.name == task.teacher)
    if (theirs.spacing_mm, theirs.crop_margin_mm) != (task.image.spacing_mm, task.image.crop_margin_mm):
        raise SpecError(f"{where}: a student reads its images on the grid of its teacher; give both one spacing_mm")
