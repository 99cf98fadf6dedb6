"""Read an `app.toml` into an `AppSpec` and check every key and type."""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lib.data.cases import Case, find_cases
from lib.data.channels import ChannelSpec, further_patterns
from lib.data.files.tables import SpecError, as_table, build_dataclass, check_choice, check_keys, join_words
from lib.data.modality import MODALITIES, NM
from lib.jobs.policy import PolicySpec
from lib.learning.recipes.distil import Distil
from lib.records.split import HELD_OUT_PATIENTS
from lib.tasks.spec import blocks
from lib.tasks.spec.kinds import CLICK, KINDS, SEGMENTATION
from lib.tasks.spec.task import TaskSpec

RANDOM = "random"
SCORED = ("foreground_random", "entropy", "mutual_information", "topology", "diversity", "entropy_diversity")
COLD_START = "cold_start"
"""`RANDOM` is a strategy of every app; `SCORED` are the strategies of a task with `scores`; `COLD_START` is a strategy
of an app with a click task, whose encoder needs no labels."""
AFTER_COLD_START = "entropy_diversity"
"""The strategy that follows `COLD_START` once a version is published, in an app with scores."""


@dataclasses.dataclass(frozen=True)
class AppSpec:
    """Specification of an app.

    Args:
        name: Name of the app.
        tasks: Tasks that the app serves.
        description: One line for the viewer.
        strategy: Name of the strategy that chooses the next case.
        lease_minutes: Minutes for which a case is leased to one annotator, counted from the last inference on it.
        control_share: Share of the cases, drawn at random, that get no automatic proposal. The additional time that
            they take is the time that proposals save.
        patient_pattern: Regular expression that finds the patient in an image's name if no DICOM tag has it.
        held_out_patients: Number of held-out patients that a new version needs to be published automatically.
        policy: When the app trains automatically.
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
        """Return the task with a name.

        Raises:
            SpecError: If there is no such task; the message lists the names that exist.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise SpecError(
            f"app '{self.name}' has no task '{name}'; its tasks are: {join_words(t.name for t in self.tasks)}"
        )

    @property
    def channel_patterns(self) -> tuple[str, ...]:
        """Patterns of the entries of a folder of studies that hold further channels, and are no studies."""
        found = (pattern for task in self.tasks for pattern in further_patterns(task.image.channels))
        return tuple(dict.fromkeys(found))

    @property
    def dicom_modalities(self) -> tuple[str, ...]:
        """DICOM modalities of the images of all tasks; none if a task takes any."""
        of_tasks = [MODALITIES[NM if task.counts else task.image.modality] for task in self.tasks]
        return tuple(dict.fromkeys(one for some in of_tasks for one in some)) if all(of_tasks) else ()

    @property
    def series_channels(self) -> tuple[ChannelSpec, ...]:
        """Further channels of all tasks that are DICOM series of the same examination."""
        found = (one for task in self.tasks for one in task.image.channels[1:])
        return tuple(dict.fromkeys(one for one in found if one.description))

    def find_cases(self, images: str | Path, labels: str | Path | None = None) -> list[Case]:
        """Return the cases of a folder; see `lib.data.cases.find_cases`."""
        return find_cases(images, labels, pattern=self.patient_pattern, channels=self.channel_patterns)

    @property
    def cold_start_task(self) -> TaskSpec | None:
        """The click task whose encoder the strategy `COLD_START` uses, the first one; None if there is none."""
        return next((task for task in self.tasks if task.kind == CLICK), None)

    @property
    def after_cold_start(self) -> str:
        """Strategy that follows `COLD_START`: `AFTER_COLD_START` of the first task with scores, or `RANDOM`."""
        scored = scored_strategies(self.tasks)
        return next((name for name, (_, order) in scored.items() if order == AFTER_COLD_START), RANDOM)

    @property
    def teacher_student_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs (teacher, student) of task names: publishing a teacher's version makes its student due for training."""
        named = [(task.name, task.student) for task in self.tasks if task.student]
        taught = [(task.teacher, task.name) for task in self.tasks if task.teacher]
        return tuple(dict.fromkeys([*named, *taught]))


def scored_strategies(tasks: Iterable[TaskSpec]) -> dict[str, tuple[TaskSpec, str]]:
    """Return the strategies that rank cases by the scores of a task: (task, name without prefix) by full name.

    If several tasks have scores, the full name begins with the task's name.
    """
    scored = [task for task in tasks if task.scores]
    prefix = {task.name: f"{task.name}_" if len(scored) > 1 else "" for task in scored}
    return {f"{prefix[task.name]}{name}": (task, name) for task in scored for name in SCORED}


def load_app(app_dir: str | Path) -> AppSpec:
    """Return the specification in ``<app_dir>/app.toml``.

    Args:
        app_dir: The app's folder.
    Raises:
        SpecError: If the file is missing or not TOML, a key is unknown or missing, or a value is not allowed.
    """
    path = Path(app_dir) / "app.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{app_dir} has no app.toml: name the folder of an app") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    try:
        app = read_app(table)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    # Paths in app.toml are relative to the app's folder, whatever the working directory is.
    home = path.parent.absolute()
    tasks = tuple(
        dataclasses.replace(task, foundation=task.foundation and str(home / task.foundation)) for task in app.tasks
    )
    return dataclasses.replace(app, tasks=tasks)


def read_app(table: Mapping[str, Any]) -> AppSpec:
    """Return the specification in a parsed app.toml.

    Args:
        table: ``{"app": {...}, "policy": {...}, "task": [{...}, ...]}``.
    Raises:
        SpecError: As `load_app`.
    """
    check_keys(table, {"app", "policy", "task"}, "the file")
    declared = table.get("task", [])
    if not isinstance(declared, list) or not declared:
        raise SpecError("the file has no [[task]] block: declare at least one task")
    tasks = tuple(_task(block, f"[[task]] {index}") for index, block in enumerate(declared, start=1))
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise SpecError(f"two tasks have the same name: {join_words(names)}")
    head = as_table(table.get("app", {}), "[app]")
    check_keys(head, {field.name for field in dataclasses.fields(AppSpec)} - {"tasks", "policy"}, "[app]")
    app = build_dataclass(
        AppSpec, head, "[app]", tasks=tasks, policy=blocks.policy(as_table(table.get("policy", {}), "[policy]"))
    )
    _check_strategy(app)
    if not 0 <= app.control_share <= 0.5:
        raise SpecError(f"[app] control_share: {app.control_share} is not between 0 and 0.5")
    if not 0 < app.lease_minutes < float("inf"):
        raise SpecError(f"[app] lease_minutes: {app.lease_minutes} is not a finite number above 0")
    if app.held_out_patients < 2:
        raise SpecError("[app] held_out_patients: at least 2 are needed; one patient says nothing about others")
    try:
        re.compile(app.patient_pattern)
    except re.error as error:
        raise SpecError(f"[app] patient_pattern is not a regular expression: {error}") from None
    for task in tasks:
        if task.student is not None:
            same = tuple(other.name for other in tasks if other is not task and other.labels == task.labels)
            check_choice(task.student, same, f"[[task]] ({task.name}) student")
        _check_teacher(task, tasks)
    return app


def _check_strategy(app: AppSpec) -> None:
    known = (RANDOM, *scored_strategies(app.tasks))
    if app.strategy == COLD_START and app.cold_start_task is None:
        raise SpecError(
            f"[app] strategy: '{COLD_START}' compares images by the encoder of a click task, and this app has none; "
            f"add a [[task]] of kind '{CLICK}', or choose one of: {join_words(known)}"
        )
    check_choice(app.strategy, known if app.cold_start_task is None else (*known, COLD_START), "[app] strategy")


def _task(block: Any, where: str) -> TaskSpec:
    block = dict(as_table(block, where))
    where = f"{where} ({block['name']})" if "name" in block else where
    if "kind" in block:
        check_choice(block["kind"], tuple(KINDS), f"{where} kind")
    declaration, labels = KINDS[block.get("kind", SEGMENTATION)], block.get("labels", ())
    readers = {
        "image": blocks.image,
        "counts": blocks.counts,
        "train": blocks.train,
        "augment": blocks.augment,
        "scores": blocks.scores,
        "gate": lambda table, place: blocks.gate(table, labels, place, metrics=declaration.metrics),
        "topology": lambda table, place: blocks.topology(table, labels, place),
    }
    block.setdefault("gate", {})
    parts: dict[str, Any] = {}
    for key, read in readers.items():
        if key in block:
            place = f"{where} {key}"
            parts[key] = read(as_table(block.pop(key), place), place)
    task = build_dataclass(TaskSpec, block, where, **parts)
    check_choice(task.model, tuple(declaration.networks), f"{where} model")
    if not task.name.replace("_", "").replace("-", "").isalnum():
        raise SpecError(f"{where} name: use letters, digits, - and _ only; the name is part of a URL")
    if ("labels" in block and not task.labels) or len(set(task.labels)) < len(task.labels) or len(task.labels) > 254:
        raise SpecError(f"{where} labels: give 1 to 254 different names")
    declaration.check(task, where)
    for name in task.tubular:
        check_choice(name, task.labels, f"{where} tubular")
    return task


def _check_teacher(task: TaskSpec, tasks: tuple[TaskSpec, ...]) -> None:
    """Check that a student has a teacher with the same labels and grid, and that no other task has a teacher."""
    where = f"[[task]] ({task.name}) teacher"
    distils = task.train is not None and isinstance(task.train.options, Distil)
    if distils != (task.teacher is not None):
        raise SpecError(f"{where}: the recipe 'distil' needs a teacher; no other recipe takes one")
    if task.teacher is None:
        return
    able = tuple(other.name for other in tasks if other.teacher is None and other.labels == task.labels)
    check_choice(task.teacher, able, where)
    teacher_image = next(other.image for other in tasks if other.name == task.teacher)
    one, other = ((image.spacing_mm, image.crop_margin_mm, image.modality) for image in (teacher_image, task.image))
    if one != other:
        raise SpecError(
            f"{where}: a student reads the images of its teacher on the same grid; give both tasks the same "
            "spacing_mm, crop_margin_mm and modality"
        )
