"""The largest Betti numbers of several labels have one name."""

from lib.evaluation.faults.expected import Expected


def test_several_labels_have_one_name() -> None:
    assert Expected(("larynx", "trachea"), components=1).name == "larynx + trachea"
