"""Common behaviour of infer tasks: listing without weights, and rollback of a failing version."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.serving import served_infer
from lib.tasks.serving.served_infer import watch_for_failures
from lib.tasks.spec import TaskSpec


def test_an_infer_task_is_listed_with_and_without_weights(app_dir: Path, task: TaskSpec, starter: Path) -> None:
    infer = SegmentationInfer(app_dir, task)
    assert infer.is_valid() and infer.get_path() == str(starter)
    starter.unlink()
    assert infer.is_valid() and infer.get_path() is None


def test_a_version_that_fails_repeatedly_is_rolled_back(
    app_dir: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_back: list[str] = []
    record: Callable[..., None] = lambda app, task, version, reason: rolled_back.append(version)  # noqa: E731
    monkeypatch.setattr(served_infer, "roll_back_failing_version", record)
    watch = watch_for_failures(app_dir, task)
    for image in ("a", "b", "c"):
        with pytest.raises(RuntimeError), watch.observe("v1", image):
            raise RuntimeError("no answer")
    assert rolled_back == ["v1"]
