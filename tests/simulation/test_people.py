import numpy as np
import pytest

from lib.evaluation.metrics.overlap import dice
from lib.simulation.people import Clicking, Clicks, Desk, Label, Lazy, Noisy, Oracle, strayed

VALUES = {"tube": 1, "cavity": 2}
SPACING_MM = (1.0, 1.0, 2.0)


def truth() -> Label:
    x, y, z = np.indices((40, 40, 12))
    tube = (x - 12) ** 2 + (y - 12) ** 2 < 36
    cavity = (x - 28) ** 2 + (y - 26) ** 2 < 64
    return np.where(tube, 1, np.where(cavity & (z > 2), 2, 0)).astype(np.uint8)


def desk(proposal: Label | None = None, mend: object = None) -> Desk:
    return Desk(truth(), proposal, VALUES, SPACING_MM, mend, np.random.default_rng(3))  # type: ignore[arg-type]


class Server:
    """Answers a click with the truth of the clicked class on the clicked slice, as a very good network would."""

    def __init__(self) -> None:
        self.asked: list[Clicks] = []

    def mend(self, clicks: Clicks, label: Label | None) -> Label:
        self.asked.append(clicks)
        answer = np.zeros_like(truth()) if label is None else label.copy()
        for name, points in clicks.items():
            for i, j, k in points:
                value = VALUES.get(name, 0)
                assert truth()[i, j, k] == value, "a click lies on what it names"
                answer[..., k][truth()[..., k] == value] = value
        return answer


def test_the_oracle_submits_the_truth_and_a_good_proposal_saves_it_time() -> None:
    blank, helped = Oracle().label(desk()), Oracle().label(desk(truth()))
    assert (blank.label == truth()).all() and (helped.label == truth()).all()
    assert helped.seconds == Oracle().effort.look_seconds < blank.seconds


def test_a_noisy_hand_strays_about_as_far_as_it_is_said_to() -> None:
    label = Noisy(stray_mm=1.0).label(desk()).label
    assert 0.8 < dice(label == 2, truth() == 2) < 0.99
    assert (strayed(truth(), SPACING_MM, 0.0, 6.0, np.random.default_rng(0)) == truth()).all()


def test_a_noisy_hand_is_the_same_one_for_one_seed() -> None:
    assert (Noisy().label(desk()).label == Noisy().label(desk()).label).all()


def test_who_is_lazy_leaves_what_looks_good_and_draws_the_rest() -> None:
    proposal = truth()
    proposal[12, 12] = 0  # the tube loses a line of voxels
    proposal[proposal == 2] = 0
    label = Lazy().label(desk(proposal)).label
    assert ((label == 1) == (proposal == 1)).all()
    assert ((label == 2) == (truth() == 2)).all()
    assert (Lazy().label(desk()).label == truth()).all()


def test_who_only_clicks_begins_with_one_on_each_class_and_stops_at_the_limit() -> None:
    server = Server()
    work = Clicking(clicks=5).label(desk(mend=server.mend))
    assert set(server.asked[0]) == set(VALUES)
    assert work.clicks == 5 and len(server.asked) == 4
    assert work.seconds == Clicking().effort.seconds(clicks=5)


def test_who_only_clicks_mends_what_is_most_wrong_and_stops_when_nothing_is() -> None:
    proposal, server = truth(), Server()
    proposal[..., 5][truth()[..., 5] == 2] = 0  # a whole slice of the cavity is missed
    proposal[2:5, 30:34, 7] = 1  # and something is found where nothing is
    work = Clicking(clicks=20).label(desk(proposal, server.mend))
    assert [list(clicks) for clicks in server.asked] == [["cavity"], ["background"]]
    assert (work.label == truth()).all() and work.clicks == 2


def test_clicks_need_a_server_that_answers_them() -> None:
    with pytest.raises(ValueError, match="kind 'click'"):
        Clicking().label(desk())
