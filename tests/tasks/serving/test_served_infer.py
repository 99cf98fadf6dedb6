"""What every infer task has in common: it stays listed without weights, and a failing version is taken back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.serving import served_infer
from lib.tasks.serving.served_infer import watch_over
from lib.tasks.spec import TaskSpec


def test_it_is_listed_with_and_without_weights(app_dir: Path, task: TaskSpec, starter: Path) -> None:
    infer = SegmentationInfer(app_dir, task)
    assert infer.is_valid() and infer.get_path() == str(starter)
    starter.unlink()
    assert infer.is_valid() and infer.get_path() is None


def test_a_version_that_fails_again_and_again_is_taken_back(
    app_dir: Path, task: TaskSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    take_back: Callable[..., None] = lambda app, task, version, reason: taken.append(version)  # noqa: E731
    monkeypatch.setattr(served_infer, "take_back", take_back)
    watch = watch_over(app_dir, task)
    for image in ("a", "b", "c"):
        with pytest.raises(RuntimeError), watch.over("v1", image):
            raise RuntimeError("no answer")
    assert taken == ["v1"]
