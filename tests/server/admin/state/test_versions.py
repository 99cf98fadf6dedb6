"""Versions with their scores, the change of a promotion or rollback, and limits of what is read."""

from pathlib import Path
from typing import Any

import pytest

from lib.jobs.gate import HOLD, PUBLISH
from lib.records.versions import Version
from lib.server.admin.state import versions
from lib.server.admin.state.versions import change, read_card, task
from lib.tasks.spec import SpecError


def test_a_task_has_its_versions_and_states(lived: Any) -> None:
    found = task(lived.app.app_dir, lived.app.spec, "tubes")
    assert (found.served, found.waiting, found.former, found.older) == ("v2", "v3", "v1", 0)
    assert [(each.name, each.state, each.labels) for each in found.versions] == [
        ("v3", "waiting", 12),
        ("v2", "served", 7),
        ("v1", "kept", 3),
    ]
    scores = found.versions[0].scores
    assert scores.classes["tube"].mean == pytest.approx(0.81) and scores.classes["cavity"].mean == pytest.approx(0.78)
    assert scores.score.mean == pytest.approx(0.795) and scores.cl_dice.count == 3
    assert (found.versions[0].decision or {})["verdict"] == HOLD
    with pytest.raises(SpecError):
        task(lived.app.app_dir, lived.app.spec, "other")


def test_only_the_newest_versions_are_listed(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "VERSIONS_SHOWN", 2)
    for number in range(3):
        history.version(f"v{number}", PUBLISH, labels=number, dice=0.5)
    found = task(history.app.app_dir, history.app.spec, "tubes")
    assert [each.name for each in found.versions] == ["v2", "v1"] and found.older == 1


def test_the_change_of_a_promotion_and_of_a_rollback(lived: Any) -> None:
    where = lived.app.app_dir, lived.app.spec, "tubes"
    forth, back = change(*where, "v3"), change(*where)
    assert (forth.now, forth.then, back.now, back.then) == ("v2", "v3", "v2", "v1")
    assert forth.sides[1] is not None and forth.sides[1].score.mean > back.sides[1].score.mean  # type: ignore[union-attr]
    for name in ("v9", "starter", "../v1"):
        with pytest.raises(ValueError):
            change(*where, name)


def test_a_rollback_to_the_starter_has_no_scores(history: Any) -> None:
    history.version("v1", PUBLISH, labels=3, dice=0.6)
    back = change(history.app.app_dir, history.app.spec, "tubes")
    assert back.then == "starter" and back.sides[1] is None and back.decision is None


def test_a_card_is_read_once(lived: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(lived.app.app_dir) / "model" / "tubes" / "versions" / "v1"
    first = read_card(folder)
    monkeypatch.setattr(Version, "card", property(lambda _: pytest.fail("read again")))
    assert read_card(folder) is first
