"""The tally: what a checkpoint keeps of it comes back."""

import dataclasses
import math

from lib.learning.loop.tally import Tally


def test_round_trip_as_plain_values() -> None:
    tally = Tally(step=3, best_score=0.5, metrics=[{"case": "a", "scores": {"x": None}}], history=[{"epoch": 1}])
    assert Tally(**dataclasses.asdict(tally)) == tally


def test_a_new_run_was_never_judged_and_shares_nothing() -> None:
    first, second = Tally(), Tally()
    first.history.append({})
    assert math.isnan(second.best_score) and second.best_epoch == 0 and not second.history
