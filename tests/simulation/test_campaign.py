from pathlib import Path

from lib.data.cases import Case
from lib.simulation.campaign import Campaign, Plan, as_json, from_json
from lib.simulation.people import Oracle
from tests.simulation.test_curves import points


def test_points_go_through_json() -> None:
    known = points(0.2, 0.4)
    assert from_json(as_json(known)) == known


def test_a_fork_goes_on_from_the_same_points_in_a_folder_of_its_own(tmp_path: Path) -> None:
    case = Case("ct", tmp_path / "ct.nii", None, "ct")
    (tmp_path / "0" / "app").mkdir(parents=True)
    (tmp_path / "0" / "app" / "app.toml").write_text("as it is")
    begun = Campaign(Plan(tmp_path, "tubes", [case], [case], Oracle()), 3, "", tmp_path / "0", points=points(0.2))
    forked = begun.fork("entropy", tmp_path / "0-entropy")
    forked.points.append(points(0.3)[0])
    assert (tmp_path / "0-entropy" / "app" / "app.toml").read_text() == "as it is"
    assert (forked.strategy, forked.seed, len(begun.points)) == ("entropy", 3, 1)
