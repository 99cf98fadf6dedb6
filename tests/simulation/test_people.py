import numpy as np
import pytest

from lib.evaluation.metrics.overlap import dice
from lib.simulation.people import Assignment, Clicking, Clicks, Label, Lazy, Noisy, Oracle, displace_surface

VALUES = {"tube": 1, "cavity": 2}
SPACING_MM = (1.0, 1.0, 2.0)


def truth() -> Label:
    x, y, z = np.indices((40, 40, 12))
    tube = (x - 12) ** 2 + (y - 12) ** 2 < 36
    cavity = (x - 28) ** 2 + (y - 26) ** 2 < 64
    return np.where(tube, 1, np.where(cavity & (z > 2), 2, 0)).astype(np.uint8)


def assignment(proposal: Label | None = None, refine: object = None) -> Assignment:
    return Assignment(truth(), proposal, VALUES, SPACING_MM, refine, np.random.default_rng(3))  # type: ignore[arg-type]


class PerfectServer:
    """Answer a click with the true mask of the clicked class on the clicked slice."""

    def __init__(self) -> None:
        self.requests: list[Clicks] = []

    def refine(self, clicks: Clicks, label: Label | None) -> Label:
        self.requests.append(clicks)
        answer = np.zeros_like(truth()) if label is None else label.copy()
        for name, points in clicks.items():
            for i, j, k in points:
                value = VALUES.get(name, 0)
                assert truth()[i, j, k] == value, "a click lies on the class that it names"
                answer[..., k][truth()[..., k] == value] = value
        return answer


def test_the_oracle_submits_the_true_label_and_is_faster_with_a_good_proposal() -> None:
    without_proposal, with_proposal = Oracle().label(assignment()), Oracle().label(assignment(truth()))
    assert (without_proposal.label == truth()).all() and (with_proposal.label == truth()).all()
    assert with_proposal.seconds == Oracle().effort.look_seconds < without_proposal.seconds


def test_a_noisy_label_is_near_the_true_label() -> None:
    label = Noisy(stray_mm=1.0).label(assignment()).label
    assert 0.8 < dice(label == 2, truth() == 2) < 0.99
    assert (displace_surface(truth(), SPACING_MM, 0.0, 6.0, np.random.default_rng(0)) == truth()).all()


def test_a_noisy_label_is_the_same_for_one_seed() -> None:
    assert (Noisy().label(assignment()).label == Noisy().label(assignment()).label).all()


def test_a_lazy_annotator_accepts_good_classes_and_draws_the_others() -> None:
    proposal = truth()
    proposal[12, 12] = 0  # the tube loses a line of voxels
    proposal[proposal == 2] = 0
    label = Lazy().label(assignment(proposal)).label
    assert ((label == 1) == (proposal == 1)).all()
    assert ((label == 2) == (truth() == 2)).all()
    assert (Lazy().label(assignment()).label == truth()).all()


def test_a_clicking_annotator_starts_with_one_click_per_class_and_stops_at_the_limit() -> None:
    server = PerfectServer()
    work = Clicking(clicks=5).label(assignment(refine=server.refine))
    assert set(server.requests[0]) == set(VALUES)
    assert work.clicks == 5 and len(server.requests) == 4
    assert work.seconds == Clicking().effort.seconds(clicks=5)


def test_a_clicking_annotator_corrects_the_largest_errors_and_stops_without_errors() -> None:
    proposal, server = truth(), PerfectServer()
    proposal[..., 5][truth()[..., 5] == 2] = 0  # a whole slice of the cavity is missing
    proposal[2:5, 30:34, 7] = 1  # and a false positive lies outside
    work = Clicking(clicks=20).label(assignment(proposal, server.refine))
    assert [list(clicks) for clicks in server.requests] == [["cavity"], ["background"]]
    assert (work.label == truth()).all() and work.clicks == 2


def test_a_clicking_annotator_needs_a_click_task() -> None:
    with pytest.raises(ValueError, match="kind 'click'"):
        Clicking().label(assignment())
