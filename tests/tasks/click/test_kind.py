"""Tasks of kind "click" offer three infer tasks that share one clicker."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.tasks.kinds import kind_of
from lib.tasks.spec import TaskSpec


@pytest.fixture
def click_task(task: TaskSpec) -> TaskSpec:
    image = replace(task.image, roi=(64, 64), slice_offsets=(0,))
    return replace(task, name="sam", kind="click", model="sam_tiny", object="airway", image=image, train=None)


def test_a_click_task_has_three_infer_tasks(app_dir: Path, click_task: TaskSpec) -> None:
    assert list(kind_of(click_task).infer_tasks(app_dir, click_task)) == ["sam_2d", "sam_3d", "sam_labels"]


@pytest.mark.parametrize("model", ["sam_tiny", "sam_vit_b"])
def test_without_foundation_weights_the_task_is_not_offered(
    app_dir: Path, click_task: TaskSpec, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    file = "/nowhere.pth" if model == "sam_tiny" else ""
    task = replace(click_task, model=model, foundation=file)
    assert kind_of(task).infer_tasks(app_dir, task) == {}
    assert "sam is not offered" in caplog.text and "app.toml" in caplog.text
