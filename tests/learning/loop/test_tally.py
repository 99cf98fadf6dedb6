"""The training state: it survives a round trip through plain values, as in a checkpoint."""

import dataclasses
import math

from lib.learning.loop.tally import TrainingState


def test_round_trip_as_plain_values() -> None:
    state = TrainingState(
        step=3, best_score=0.5, metrics=[{"case": "a", "scores": {"x": None}}], history=[{"epoch": 1}]
    )
    assert TrainingState(**dataclasses.asdict(state)) == state


def test_a_new_state_has_no_score_and_shares_no_list() -> None:
    first, second = TrainingState(), TrainingState()
    first.history.append({})
    assert math.isnan(second.best_score) and second.best_epoch == 0 and not second.history
