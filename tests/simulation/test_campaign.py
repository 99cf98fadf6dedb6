from pathlib import Path

from lib.data.cases import Case
from lib.simulation.campaign import Campaign, Plan, points_from_json, points_to_json
from lib.simulation.people import Oracle
from tests.simulation.test_curves import points


def test_points_survive_a_json_round_trip() -> None:
    expected = points(0.2, 0.4)
    assert points_from_json(points_to_json(expected)) == expected


def test_a_fork_continues_from_the_same_points_in_its_own_folder(tmp_path: Path) -> None:
    case = Case("ct", tmp_path / "ct.nii", None, "ct")
    (tmp_path / "0" / "app").mkdir(parents=True)
    (tmp_path / "0" / "app" / "app.toml").write_text("unchanged")
    original = Campaign(Plan(tmp_path, "tubes", [case], [case], Oracle()), 3, "", tmp_path / "0", points=points(0.2))
    forked = original.fork("entropy", tmp_path / "0-entropy")
    forked.points.append(points(0.3)[0])
    assert (tmp_path / "0-entropy" / "app" / "app.toml").read_text() == "unchanged"
    assert (forked.strategy, forked.seed, len(original.points)) == ("entropy", 3, 1)
