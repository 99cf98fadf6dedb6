"""The points and weeks of the plots."""

from typing import Any

from lib.records.ledger import Row
from lib.server.admin.state.history import points, weeks
from lib.server.admin.state.versions import task


def label(day: str, task: str, edit_ml: float | None = 1.0, source: str = "submitted") -> Row:
    body = {"tag": "final", "source": source, "task": task, "edit_ml": edit_ml}
    return Row(1, f"{day}T12:00:00+00:00", "label", "ct_0", body, "", "")


def test_points_are_the_judged_versions_oldest_first(lived: Any) -> None:
    found = points(task(lived.app.app_dir, lived.app.spec, "tubes"))
    assert [(each.version, each.labels, each.published) for each in found] == [
        ("v1", 3, True),
        ("v2", 7, True),
        ("v3", 12, False),
    ]
    assert found[0].created is not None and found[0].created.utcoffset() is not None


def test_weeks_begin_on_monday_and_count_only_proposals_of_the_task() -> None:
    rows = [
        label("2026-11-22", "sam", 4.0),
        label("2026-11-23", "sam_2d", 0.0),
        label("2026-11-29", "sam_labels", 2.0),
        label("2026-11-24", "sam_other"),
        label("2026-11-24", "sam", None),
        label("2026-11-24", "sam", source="predicted"),
    ]
    first, second = weeks(rows, "sam")
    assert (str(first.begins), first.work.median_edit_ml) == ("2026-11-16", 4.0)
    assert (str(second.begins), second.work.labels, second.work.unchanged) == ("2026-11-23", 2, 0.5)
