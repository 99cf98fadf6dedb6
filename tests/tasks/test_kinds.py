"""The kinds of task behind one protocol."""

from dataclasses import replace
from pathlib import Path

from lib.tasks.kinds import KINDS, kind_of
from lib.tasks.spec import TaskSpec
from lib.tasks.spec import kinds as declared


def test_each_declared_kind_has_a_behaviour() -> None:
    assert KINDS.keys() == declared.KINDS.keys()


def test_a_task_has_the_kind_that_it_names(task: TaskSpec) -> None:
    assert kind_of(task) is KINDS["segmentation"]
    assert kind_of(replace(task, kind="click")) is KINDS["click"]


def test_infer_tasks_have_the_name_of_their_task(app_dir: Path, task: TaskSpec) -> None:
    assert list(kind_of(task).infer_tasks(app_dir, task)) == ["tubes"]
    assert list(kind_of(task).scoring_methods(task)) == ["dice"]
