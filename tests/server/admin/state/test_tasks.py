"""The state of tasks; new labels are counted again only after a change of the ledger."""

from typing import Any

import pytest

from lib.server.admin.state import tasks as module
from lib.server.admin.state.tasks import TaskStatus, tasks


def test_a_task_without_history(history: Any) -> None:
    assert tasks(history.app) == [TaskStatus("tubes", "starter", "", 0, False)]


def test_a_task_with_a_history(lived: Any) -> None:
    assert tasks(lived.app) == [TaskStatus("tubes", "v2", "v3", 2, False)]
    lived.app.queue.submit("train", "tubes", {})
    assert tasks(lived.app)[0].training


def test_a_task_without_training_has_no_count_of_new_labels(history: Any) -> None:
    history.app._trainers = {}
    assert tasks(history.app)[0].new_labels is None


def test_labels_are_counted_once_while_the_ledger_is_unchanged(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(module, "count_new_labels", lambda _, task: counted.append(task) or 7)
    assert [tasks(history.app)[0].new_labels for _ in range(3)] == [7, 7, 7] and counted == ["tubes"]
    history.app.ledger.append("label", "ct_0", {"tag": "final", "source": "submitted"})
    tasks(history.app)
    assert counted == ["tubes", "tubes"]
