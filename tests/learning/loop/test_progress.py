"""Progress: the time left, and lines that come now and then."""

import logging
import math

import pytest

from lib.learning.loop.progress import Bar, LogLines, Standing, clock, eta_seconds


def standing(step: int, score: float = math.nan) -> Standing:
    return Standing(1, 2, step, 10, 0.5, score, 1.0, 3661.0)


@pytest.mark.parametrize(("done", "left"), [(0.0, math.inf), (0.25, 30.0), (1.0, 0.0)])
def test_time_left(done: float, left: float) -> None:
    assert eta_seconds(10.0, done) == pytest.approx(left)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (math.inf, "?")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_text_names_the_best_score_once_there_is_one() -> None:
    assert str(standing(1)) == "epoch 1/2, loss 0.500, 1:01:01 left"
    assert "best Dice 0.700" in str(standing(1, 0.7))


def test_lines_are_spaced_and_the_last_is_never_missed(caplog: pytest.LogCaptureFixture) -> None:
    report = LogLines(interval_seconds=60)
    with caplog.at_level(logging.INFO, "lib.learning.loop.progress"):
        for step in range(1, 11):
            report(standing(step))
    report.close()
    assert len(caplog.records) == 2


def test_bar_draws_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar(standing(3))
    bar.close()
    captured = capsys.readouterr()
    assert "epoch 1/2" in captured.err and not captured.out
