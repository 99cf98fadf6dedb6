"""How tasks stand, counted again only when something happened."""

from typing import Any

import pytest

from lib.server.admin.state import tasks as module
from lib.server.admin.state.tasks import Standing, tasks


def test_a_task_that_nothing_happened_to(history: Any) -> None:
    assert tasks(history.app) == [Standing("tubes", "starter", "", 0, False)]


def test_a_task_with_a_history(lived: Any) -> None:
    assert tasks(lived.app) == [Standing("tubes", "v2", "v3", 2, False)]
    lived.app.queue.submit("train", "tubes", {})
    assert tasks(lived.app)[0].busy


def test_a_task_that_is_not_trained_has_nothing_due(history: Any) -> None:
    history.app._trainers = {}
    assert tasks(history.app)[0].due is None


def test_labels_are_counted_once_while_nothing_happens(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(module, "new_labels", lambda _, task: counted.append(task) or 7)
    assert [tasks(history.app)[0].due for _ in range(3)] == [7, 7, 7] and counted == ["tubes"]
    history.app.ledger.append("label", "ct_0", {"tag": "final", "source": "submitted"})
    tasks(history.app)
    assert counted == ["tubes", "tubes"]
