"""The gate: what is published, what is rejected, and what waits for a person, each with its reasons."""

import dataclasses
import json
import math
import random

import pytest

from lib.jobs.gate import HOLD, PUBLISH, REJECT, Decision, GateSpec, Judged, decide

SPEC = GateSpec(tolerance=0.01, floors={"trachea": 0.6}, latency_factor=2.0)


def judged(count: int = 8, gain: float = 0.0, cl_gain: float = 0.0, seed: int = 0, **facts) -> list[Judged]:
    """Return cases of different difficulty; `gain` is added to all of them."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        base = rng.uniform(0.7, 0.9)
        dice = {"trachea": base + gain, "larynx": base - 0.1 + gain}
        known = {
            "case": f"c{number}",
            "patient": f"p{number}",
            "scores": dice,
            "cl_dice": base + cl_gain,
            "seconds": 1.0,
        }
        found.append(Judged(**(known | facts)))
    return found


def gate(challenger: list[Judged], champion: list[Judged] | None, *, min_patients: int = 5, **more) -> Decision:
    decision = decide(challenger, champion, SPEC, min_patients=min_patients, **more)
    json.dumps(dataclasses.asdict(decision), allow_nan=False)
    assert decision.reasons and all(decision.reasons)
    return decision


@pytest.mark.parametrize(
    ("gain", "cl_gain", "verdict", "says"),
    [
        (0.05, 0.05, PUBLISH, "no worse on 8 held-out patients"),
        (0.0, 0.0, PUBLISH, "Dice +0.000"),
        (-0.005, 0.0, PUBLISH, "no worse"),
        (-0.02, 0.0, REJECT, "Dice may fall: -0.020"),
        (0.05, -0.02, REJECT, "clDice may fall: -0.020"),
    ],
)
def test_neither_score_may_fall_beyond_the_tolerance(gain: float, cl_gain: float, verdict: str, says: str) -> None:
    decision = gate(judged(gain=gain, cl_gain=cl_gain), judged())
    assert decision.verdict == verdict and says in decision.reason


def test_a_gain_on_average_is_not_enough_where_it_may_be_chance() -> None:
    """Half the patients much better, half much worse: the mean says nothing."""
    gains = [0.1, -0.09] * 4
    challenger = [
        dataclasses.replace(each, scores={name: value + gain for name, value in each.scores.items()})
        for each, gain in zip(judged(), gains, strict=True)
    ]
    assert gate(challenger, judged()).verdict == REJECT
    assert gate(judged(gain=sum(gains) / 8), judged()).verdict == PUBLISH


def test_pairing_sees_a_small_fall_that_every_patient_shares() -> None:
    """The patients differ by 0.2, so unpaired intervals would overlap."""
    assert gate(judged(gain=-0.015, cl_gain=-0.015), judged()).verdict == REJECT


@pytest.mark.parametrize(("patients", "verdict"), [(0, HOLD), (1, HOLD), (4, HOLD), (5, PUBLISH)])
def test_too_few_patients_wait_for_the_admin(patients: int, verdict: str) -> None:
    decision = gate(judged(patients, gain=0.05, cl_gain=0.05), judged(patients))
    assert decision.verdict == verdict
    if verdict == HOLD:
        assert f"{patients} held-out patients are too few" in decision.reason and "admin" in decision.reason


def test_many_series_of_few_patients_are_few() -> None:
    ours, theirs = judged(12, gain=0.05), judged(12)
    same = [[dataclasses.replace(each, patient=f"p{i % 3}") for i, each in enumerate(side)] for side in (ours, theirs)]
    decision = gate(*same)
    assert decision.verdict == HOLD and "3 held-out patients" in decision.reason
    assert decision.figures["cases"] == 12 and decision.figures["patients"] == 3


def test_a_worse_one_of_few_patients_is_held_and_said_to_be_worse() -> None:
    decision = gate(judged(3, gain=-0.2), judged(3))
    assert decision.verdict == HOLD and "Dice may fall: -0.200" in decision.reason


def test_a_class_below_its_floor_is_rejected_whatever_the_mean() -> None:
    def shifted(trachea: float, larynx: float) -> list[Judged]:
        return [dataclasses.replace(each, scores={"trachea": trachea, "larynx": larynx}) for each in judged()]

    decision = gate(shifted(0.55, 0.95), shifted(0.6, 0.8))
    assert decision.verdict == REJECT and "trachea has Dice 0.550, below its floor of 0.600" in decision.reason
    assert gate(shifted(0.6, 0.95), shifted(0.6, 0.8)).verdict == PUBLISH


def test_a_floor_that_no_case_can_show_waits_for_the_admin() -> None:
    bare = [[dataclasses.replace(each, scores={"larynx": 0.8, "trachea": None}) for each in judged()] for _ in range(2)]
    decision = gate(*bare)
    assert decision.verdict == HOLD and "no held-out case shows trachea" in decision.reason


def test_drawing_what_is_not_there_costs() -> None:
    """The champion rightly leaves the class out, for which there is no Dice; the challenger draws it and gets 0."""
    theirs = [dataclasses.replace(each, scores={"trachea": 0.8, "larynx": None}) for each in judged()]
    ours = [dataclasses.replace(each, scores={"trachea": 0.85, "larynx": 0.0}) for each in judged()]
    assert gate(ours, theirs).verdict == REJECT
    assert gate(
        [dataclasses.replace(each, scores={"trachea": 0.85, "larynx": None}) for each in ours], theirs
    ).verdict == (PUBLISH)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"finite": False}, "no numbers"),
        ({"constant": True}, "every voxel the same value"),
        ({"seconds": 3.5}, "it takes 3.5 s a case, the served version 1.0 s"),
    ],
)
def test_the_canary_rejects_whatever_the_scores(fault: dict, says: str) -> None:
    for patients in (8, 2):
        decision = gate(judged(patients, gain=0.05, cl_gain=0.05, **fault), judged(patients))
        assert decision.verdict == REJECT and says in decision.reason
    # Without any held-out case it looks at the probes.
    if "seconds" not in fault:
        assert gate([], [], probes=judged(1, **fault)).verdict == REJECT


def test_one_constant_case_among_others_is_no_reason() -> None:
    ours = judged(gain=0.05)
    ours[0] = dataclasses.replace(ours[0], constant=True)
    assert gate(ours, judged()).verdict == PUBLISH


def test_a_little_slower_is_the_machine() -> None:
    assert gate(judged(seconds=2.9), judged()).verdict == PUBLISH


def test_without_a_champion_the_floors_and_the_number_decide() -> None:
    assert gate(judged(), None).verdict == PUBLISH
    assert gate(judged(3), None).verdict == HOLD
    assert gate([dataclasses.replace(each, scores={"trachea": 0.2}) for each in judged()], None).verdict == REJECT


def test_nothing_to_score_is_not_published() -> None:
    empty = [[dataclasses.replace(each, scores={"larynx": None}, cl_dice=None) for each in judged()] for _ in range(2)]
    decision = decide(*empty, GateSpec(), min_patients=5)
    assert decision.verdict == REJECT and "cannot be compared" in decision.reason


def test_nan_scores_are_no_scores() -> None:
    ours = [dataclasses.replace(each, scores={"trachea": math.nan, "larynx": math.nan}) for each in judged()]
    assert gate(ours, judged()).verdict != PUBLISH


def test_different_cases_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same cases"):
        gate(judged(), judged()[::-1])


@pytest.mark.parametrize(
    ("ahead", "verdict", "says"),
    [
        (0.0, PUBLISH, "no worse"),
        (0.03, PUBLISH, "no worse"),
        (0.2, REJECT, "of its teacher's Dice"),
    ],
)
def test_a_student_reaches_most_of_its_teachers_dice(ahead: float, verdict: str, says: str) -> None:
    decision = gate(judged(), judged(), teacher=judged(gain=ahead))
    assert decision.verdict == verdict and says in decision.reason
    ours = sum(sum(each.scores.values()) / 2 for each in judged()) / 8
    assert decision.figures["teacher_share"] == pytest.approx(ours / (ours + ahead), abs=1e-4)


def test_how_far_a_student_is_behind_is_told_where_few_patients_judge() -> None:
    decision = gate(judged(2), None, teacher=judged(2, gain=0.3))
    assert decision.verdict == HOLD and "and 0.950 is asked" in decision.reason


def test_without_a_teacher_there_is_no_share() -> None:
    assert "teacher_share" not in gate(judged(), judged()).figures
    assert gate(judged(), judged(), teacher=judged(scores={"trachea": 0.0})).figures["teacher_share"] is None
